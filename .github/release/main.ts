/**
 * `deno task compile` and the steps of the release workflow. Each step is a function with a test of its own; this file
 * only reads the command line.
 */
import { dirname, fromFileUrl, join } from "@std/path";
import { NoRuntimeError } from "./compile.ts";
import { readOptions } from "./options.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
/** No runtime to embed; others may want to tell it from a failed compile. */
const EXIT_NO_RUNTIME = 69;

type Step = (args: string[]) => Promise<void> | void;

const STEPS: Record<string, Step> = {
  /** The program for this system, one other, or all. */
  async compile(args) {
    const { compile } = await import("./compile.ts");
    const { TARGETS, targetOf } = await import("./targets.ts");
    const { target: wanted, output } = readOptions(args, ["target", "output"]);
    const denort = Deno.env.get("DENORT_BIN");
    const targets = wanted === "all" ? TARGETS : [targetOf(wanted ?? Deno.build.target)];
    if (targets.length > 1 && (denort ?? "") !== "") {
      throw new RangeError(
        "Cannot compile for all targets with DENORT_BIN: it is the runtime of one of them",
      );
    }
    if (targets.length > 1 && output !== undefined) {
      throw new RangeError("Cannot compile for all targets into one --output");
    }
    for (const target of targets) {
      const path = output ?? join(ROOT, "dist", `runner-${target.name}`, target.program);
      await compile({ root: ROOT, target, output: path, denort, time: await sourceTime() });
      say(path);
    }
  },
  /** Tag, deno.json, program and changelog agree. */
  async version(args) {
    const { releaseVersion } = await import("./steps.ts");
    say(releaseVersion(ROOT, required(readOptions(args, ["tag"]), "tag")));
  },
  /** The runtimes of all targets, checked, in Deno's cache; their hashes on stdout. */
  async runtimes(args) {
    readOptions(args, []);
    const { fetchRuntime } = await import("./denort.ts");
    const { TARGETS } = await import("./targets.ts");
    const { denoDir } = await import("./compile.ts");
    const hashes: Record<string, string> = {};
    for (const target of TARGETS) {
      hashes[`denort-${target.triple}.zip`] = await fetchRuntime({
        target,
        version: Deno.version.deno,
        cache: await denoDir(),
      });
    }
    say(JSON.stringify(hashes));
  },
  async archive(args) {
    const { archiveAll } = await import("./steps.ts");
    const options = readOptions(args, ["programs", "out"]);
    const [programs, out] = [required(options, "programs"), required(options, "out")];
    for (const name of await archiveAll(ROOT, programs, out, await sourceTime())) say(name);
  },
  async assets(args) {
    const { writeAssets } = await import("./steps.ts");
    const options = readOptions(args, ["dir", "repository", "commit", "runtimes"]);
    await writeAssets(ROOT, required(options, "dir"), {
      repository: required(options, "repository"),
      commit: required(options, "commit"),
      runtimes: JSON.parse(await Deno.readTextFile(required(options, "runtimes"))),
      denoVersion: Deno.version.deno,
      time: await sourceTime(),
    });
  },
  async notes(args) {
    const { releaseNotes } = await import("./steps.ts");
    const options = readOptions(args, ["repository", "workflow"]);
    say(releaseNotes(ROOT, required(options, "repository"), required(options, "workflow")));
  },
  async compare(args) {
    const { compareBuilds } = await import("./steps.ts");
    const options = readOptions(args, ["first", "second"]);
    const count = await compareBuilds(required(options, "first"), required(options, "second"));
    say(`${count} of ${count} programs are the same, byte by byte`);
  },
  /** The archive for this system, unpacked and run. */
  async smoke(args) {
    const { smoke, unpack } = await import("./smoke.ts");
    const { archiveName } = await import("./manifests.ts");
    const { targetOf } = await import("./targets.ts");
    const { projectVersion } = await import("./version.ts");
    const version = projectVersion(ROOT);
    const assets = required(readOptions(args, ["assets"]), "assets");
    const dir = await Deno.makeTempDir({ prefix: "smoke-" });
    const program = await unpack(join(assets, archiveName(targetOf(Deno.build.target), version)), dir);
    for (const each of (await smoke(program, version)).ran) say(`ok  ${each}`);
    await Deno.remove(dir, { recursive: true });
  },
  async verify(args) {
    const { ghAttestation, verifyAssets } = await import("./verify.ts");
    const { projectVersion } = await import("./version.ts");
    const options = readOptions(args, ["dir", "repository", "workflow"]);
    const attestation = ghAttestation(required(options, "repository"), required(options, "workflow"));
    say(JSON.stringify(await verifyAssets(required(options, "dir"), projectVersion(ROOT), attestation)));
  },
};

function required<Name extends string>(options: Partial<Record<Name, string>>, name: Name): string {
  const value = options[name];
  if (value === undefined) throw new RangeError(`Cannot run without --${name}`);
  return value;
}

/** SOURCE_DATE_EPOCH, else the time of the last commit, else 0. */
async function sourceTime(): Promise<Date> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  if (given !== undefined && /^\d+$/.test(given)) return new Date(Number(given) * 1000);
  try {
    const { code, stdout } = await new Deno.Command("git", {
      args: ["log", "-1", "--format=%ct"],
      cwd: ROOT,
      stderr: "null",
    }).output();
    if (code === 0) return new Date(Number(new TextDecoder().decode(stdout)) * 1000);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return new Date(0);
}

function say(text: string, to: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(text + "\n"));
}

if (import.meta.main) {
  const [name, ...args] = Deno.args;
  const step = name === undefined ? undefined : STEPS[name];
  if (step === undefined) {
    say(`usage: main.ts ${Object.keys(STEPS).join("|")} [options]`, Deno.stderr);
    Deno.exit(2);
  }
  try {
    await step(args);
  } catch (error) {
    say(`${name}: ${error instanceof Error ? error.message : error}`, Deno.stderr);
    Deno.exit(error instanceof NoRuntimeError ? EXIT_NO_RUNTIME : error instanceof RangeError ? 2 : 1);
  }
}
