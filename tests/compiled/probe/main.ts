/**
 * Tries, inside a compiled program, what the shipped permissions forbid, and what they allow as a control. Prints one
 * JSON object: for each operation `denied`, `allowed`, `unloadable`, or another error with its name. Plain enough to be compiled with
 * the flags of the product and nothing of its code, so that the product needs no test switch.
 */
import os from "node:os";
import process from "node:process";
import { createRequire } from "node:module";
import { DatabaseSync } from "node:sqlite";

/** A loopback server with a module on it, so that an import that is possible would be seen there. */
const url = Deno.args[0]!;
const library = Deno.build.os === "darwin" ? "/usr/lib/libSystem.dylib" : "libc.so.6";
const require = createRequire(import.meta.url);

const FORBIDDEN: Record<string, () => unknown> = {
  "ffi: Deno.dlopen": () => Deno.dlopen(library, { getpid: { parameters: [], result: "i32" } }),
  "ffi: Deno.dlopen of this program": () => Deno.dlopen(Deno.execPath(), {}),
  "ffi: UnsafePointer.create": () => Deno.UnsafePointer.create(4096n),
  "ffi: UnsafePointer.of": () => Deno.UnsafePointer.of(new Uint8Array(8)),
  "ffi: UnsafeCallback": () => new Deno.UnsafeCallback({ parameters: [], result: "void" }, () => {}),
  "ffi: process.dlopen": () =>
    (process as unknown as { dlopen(module: object, file: string): void }).dlopen({ exports: {} }, library),
  "ffi: require of an addon": () => require(Deno.makeTempFileSync({ suffix: ".node" })),
  "ffi: SQLite extension": () => new DatabaseSync(":memory:", { allowExtension: true }),
  "import: from the loopback": () => import(`${url}/import.js`),
  "import: from jsr.io": () => import(`https://${"jsr.io"}/@std/path/1.0.0/mod.ts`),
  "import: from deno.land": () => import(`https://${"deno.land"}/std/version.ts`),
  "import: from esm.sh": () => import(`https://${"esm.sh"}/x`),
  "import: in a worker": () => workerThatImports(`${url}/import.js`),
  "sys: osRelease": () => Deno.osRelease(),
  "sys: osUptime": () => Deno.osUptime(),
  "sys: loadavg": () => Deno.loadavg(),
  "sys: networkInterfaces": () => Deno.networkInterfaces(),
  "sys: systemMemoryInfo": () => Deno.systemMemoryInfo(),
  "sys: gid": () => Deno.gid(),
  "sys: cpus": () => os.cpus(),
  "sys: homedir": () => os.homedir(),
  "sys: userInfo": () => os.userInfo(),
  "sys: os.release": () => os.release(),
  "sys: getPriority": () => os.getPriority(),
  "sys: setPriority": () => os.setPriority(0, 0),
  "sys: os.networkInterfaces": () => os.networkInterfaces(),
  "files: own environment in /proc": () => Deno.readTextFileSync("/proc/self/environ"),
  "files: another's environment in /proc": () => Deno.readTextFileSync("/proc/1/environ"),
  "files: own memory": () => Deno.openSync("/proc/self/mem"),
  "files: the kernel's settings": () => Deno.writeTextFileSync("/proc/sys/kernel/core_pattern", "core"),
  "rights: ask for ffi": () => request({ name: "ffi" }),
  "rights: ask for sys": () => request({ name: "sys" }),
  "rights: ask for import": () => request({ name: "import" } as unknown as Deno.PermissionDescriptor),
};

const ALLOWED: Record<string, () => unknown> = {
  "sys: hostname": () => Deno.hostname(),
  "sys: uid": () => Deno.uid(),
  "env": () => Deno.env.get("PATH"),
  "files: write and read": () => {
    const path = Deno.makeTempFileSync();
    Deno.writeTextFileSync(path, "x");
    Deno.readTextFileSync(path);
    Deno.removeSync(path);
  },
  "net: fetch": async () => await (await fetch(`${url}/control.js`)).text(),
  "run": async () => await new Deno.Command(Deno.execPath(), { args: ["--end"] }).output(),
};

async function request(descriptor: Deno.PermissionDescriptor): Promise<void> {
  const { state } = await Deno.permissions.request(descriptor);
  if (state !== "granted") throw new Deno.errors.NotCapable(state);
}

/** Resolves when a worker could import; rejects with what it was refused with. */
async function workerThatImports(specifier: string): Promise<void> {
  const worker = new Worker(import.meta.resolve("./worker.ts"), { type: "module" });
  try {
    const answer = await new Promise<{ name: string; message: string } | null>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      worker.postMessage(specifier);
    });
    if (answer !== null) throw Object.assign(new Error(answer.message), { name: answer.name });
  } finally {
    worker.terminate();
  }
}

/**
 * "Denied" must come from the permission check: a missing file or a refused connection is no denial. A compiled program
 * has no loader for remote modules at all, which comes before the check: `unloadable`; that nothing was asked for is seen
 * at the server.
 */
async function attempt(operation: () => unknown): Promise<string> {
  try {
    await operation();
    return "allowed";
  } catch (error) {
    const { name, message } = error as Error;
    const refused = name === "NotCapable" || error instanceof Deno.errors.NotCapable ||
      /^(?:NotCapable: )?Requires \w+ access to/.test(message);
    if (name === "TypeError" && /^Module not found: https?:/.test(message)) return "unloadable";
    return refused ? "denied" : `${name}: ${message}`;
  }
}

if (url === "--end") Deno.exit(0);
const result: Record<string, Record<string, string>> = { forbidden: {}, allowed: {} };
for (const [name, operation] of Object.entries(FORBIDDEN)) {
  result.forbidden![name] = await attempt(operation);
}
for (const [name, operation] of Object.entries(ALLOWED)) result.allowed![name] = await attempt(operation);
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(result) + "\n"));
Deno.exit(0);
