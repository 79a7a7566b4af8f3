import { assert, assertEquals } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { PERMISSION_FLAGS } from "../../lib/cli/self_command.ts";
import { readPayload } from "../../.github/release/payload.ts";
import {
  chooseCompiler,
  compiledProgram,
  compiledTest,
  type Compiler,
  program,
  runCompile,
} from "../support/compiled.ts";
import { withTempDir } from "../support/temp.ts";

const HERE = dirname(fromFileUrl(import.meta.url));
const choice = await chooseCompiler();

/** Compiles the probe as the product is compiled, from a directory of its own so that no deno.json adds to it. */
async function compileProbe({ deno, denort }: Compiler, dir: string): Promise<string> {
  const source = join(dir, "source-of-probe");
  Deno.mkdirSync(source);
  for (const name of ["main.ts", "worker.ts"]) {
    Deno.copyFileSync(join(HERE, "probe", name), join(source, name));
  }
  const output = join(dir, program("probe"));
  const { code, stderr } = await new Deno.Command(deno, {
    args: [
      "compile",
      "--quiet",
      "--no-config",
      "--no-check",
      "--no-code-cache",
      ...PERMISSION_FLAGS,
      "--include",
      "worker.ts",
      "--output",
      output,
      "main.ts",
    ],
    cwd: source,
    env: denort === null ? {} : { DENORT_BIN: denort },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return output;
}

compiledTest(
  choice,
  "forbidden operations are denied in a program with the permissions of the shipped one",
  async (compiler) => {
    await withTempDir(async (dir) => {
      const probe = await compileProbe(compiler, dir);
      const { command } = await compiledProgram(compiler, dir);
      const [ofProbe, ofProduct] = [probe, command].map((path) => readPayload(Deno.readFileSync(path)));
      assertEquals(ofProbe!.metadata.permissions, ofProduct!.metadata.permissions);
      const asked: string[] = [];
      const server = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: () => {} },
        (request) => {
          asked.push(new URL(request.url).pathname);
          return new Response("export {}", { headers: { "content-type": "text/javascript" } });
        },
      );
      const { code, stdout, stderr } = await new Deno.Command(probe, {
        args: [`http://127.0.0.1:${server.addr.port}`],
        clearEnv: true,
        env: { PATH: "/nowhere", HOME: dir, TMPDIR: dir },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).output();
      await server.shutdown();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      const { forbidden, allowed } = JSON.parse(new TextDecoder().decode(stdout)) as Record<
        string,
        Record<string, string>
      >;
      const notDenied = Object.entries(forbidden!).filter(([name, result]) =>
        result !== "denied" && !(result === "unloadable" && name.startsWith("import: "))
      );
      assertEquals(notDenied, []);
      const notAllowed = Object.entries(allowed!).filter(([, result]) => result !== "allowed");
      assertEquals(notAllowed, [], "the control failed, so that a denial proves nothing");
      assertEquals(asked, ["/control.js"]);
      assert(Object.values(forbidden!).filter((result) => result === "denied").length >= 25);
      assertEquals(Object.keys(allowed!).length, 6);
    });
  },
);

Deno.test("what is embedded has the golden permissions, no code cache, no package of the tests, and the plugin", async () => {
  // Any executable of this system can carry a payload; that one cannot run, and is not run.
  const compiler = choice.kind === "runs"
    ? choice.compiler
    : { deno: Deno.execPath(), denort: Deno.build.os === "windows" ? Deno.execPath() : "/bin/true" };
  await withTempDir(async (dir) => {
    const paths = [join(dir, "a", program("runner")), join(dir, "b", program("runner"))];
    for (const output of paths) {
      const { code, err } = await runCompile(compiler, ["--output", output]);
      assertEquals(code, 0, err);
    }
    const [first, second] = paths.map((path) => Deno.readFileSync(path));
    assert(first!.length === second!.length && first!.every((byte, i) => byte === second![i]), "differs");
    const { metadata, files } = readPayload(first!);
    const { permissions } = metadata;
    assertEquals(
      Object.fromEntries(Object.entries(permissions).filter(([key]) => key !== "allow_import")),
      {
        ...Object.fromEntries(["env", "net", "read", "run", "write"].map((kind) => [`allow_${kind}`, []])),
        ...Object.fromEntries(["env", "net", "read", "run", "sys", "write"].map((kind) => [
          `deny_${kind}`,
          null,
        ])),
        ignore_env: null,
        ignore_read: null,
        allow_ffi: null,
        deny_ffi: [],
        deny_import: [],
        allow_sys: ["hostname", "uid"],
        prompt: false,
      },
    );
    assertEquals([metadata.code_cache_key, metadata.entrypoint_key], [null, "main.ts"]);
    assert(files.includes("plugins/claude/.claude-plugin/plugin.json"), files.join("\n"));
    assertEquals(files.filter((file) => /^tests\/|node_modules/.test(file)), []);
  });
});

Deno.test("compile says which runtime is missing and both ways out, and leaves no file behind", async () => {
  await withTempDir(async (dir) => {
    const output = join(dir, "out", "runner");
    const { code, out, err } = await runCompile(
      { deno: Deno.execPath(), denort: join(dir, "no-such-denort") },
      ["--output", output, "--target", "linux-arm64"],
    );
    assertEquals([code, out], [69, ""], err);
    const version = Deno.version.deno;
    assert(err.startsWith(`compile: Cannot get the runtime of Deno ${version} for linux-arm64: `), err);
    assert(err.includes(`set DENORT_BIN to a denort of Deno ${version} for aarch64-unknown-linux-gnu`), err);
    assert(err.includes(`dl/release/v${version}/denort-aarch64-unknown-linux-gnu.zip`), err);
    assertEquals([...Deno.readDirSync(join(dir, "out"))], []);
  });
});
