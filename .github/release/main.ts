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

const STEPS: Record<string, (args: string[]) => Promise<void>> = {
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
    for (const target of targets) {
      const path = output ?? join(ROOT, "dist", `runner-${target.name}`, target.program);
      await compile({ root: ROOT, target, output: path, denort, time: await sourceTime() });
      say(path);
    }
  },
};

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
