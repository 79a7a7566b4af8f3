import { dirname, fromFileUrl, join } from "@std/path";
import { PERMISSION_FLAGS } from "../../lib/cli/self_command.ts";
import type { Program } from "./runner_process.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
/** Where `.ci/denort.sh` leaves a runtime and the compiler of its version. */
const DENORT_DIR = join(ROOT, ".cache", "denort");
const EXIT_NO_RUNTIME = 69;

/** What `deno compile` is to be run with on this machine. */
export interface Compiler {
  deno: string;
  /** Null: Deno's own cache or download. */
  denort: string | null;
}

/** The compiler to test with, or why there is none that gives a program that can be run. */
export type CompilerChoice = { kind: "runs"; compiler: Compiler } | { kind: "payload-only"; reason: string };

let choosing: Promise<CompilerChoice> | null = null;

/**
 * Finds out what can be compiled here: with DENORT_BIN when it is set, with the runtime that `.ci/denort.sh` left, or
 * with what Deno has or can download. Asked once for all files of a test run.
 */
export function chooseCompiler(): Promise<CompilerChoice> {
  choosing ??= choose();
  return choosing;
}

async function choose(): Promise<CompilerChoice> {
  const given = Deno.env.get("DENORT_BIN") ?? "";
  if (given !== "") return { kind: "runs", compiler: { deno: Deno.execPath(), denort: given } };
  const cached = { deno: join(DENORT_DIR, "deno"), denort: join(DENORT_DIR, "denort") };
  if (await exists(cached.deno) && await exists(cached.denort)) return { kind: "runs", compiler: cached };
  const own = { deno: Deno.execPath(), denort: null };
  const output = join(ROOT, ".cache", "compiled", "try", program("runner"));
  const { code, err } = await runCompile(own, ["--output", output]);
  if (code === 0) return { kind: "runs", compiler: own };
  if (code === EXIT_NO_RUNTIME) return { kind: "payload-only", reason: err.split("\n")[0]!.slice(0, 160) };
  throw new Error(err);
}

/** A name as a program's file has it on this system. */
export function program(name: string): string {
  return Deno.build.os === "windows" ? `${name}.exe` : name;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Runs `deno task compile` as a person would, with the given compiler. */
export async function runCompile(
  { deno, denort }: Compiler,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(deno, {
    args: [
      "run",
      "--quiet",
      "--frozen",
      "--config",
      join(ROOT, "deno.json"),
      ...PERMISSION_FLAGS,
      join(ROOT, ".github", "release", "main.ts"),
      "compile",
      ...args,
    ],
    env: { DENORT_BIN: denort ?? "", ...env },
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Compiles the program into `dir` and returns it with what stands for it on a PATH that has nothing else. */
export async function compiledProgram(compiler: Compiler, dir: string): Promise<CompiledProgram> {
  const command = join(dir, "bin", program("runner"));
  const { code, err } = await runCompile(compiler, ["--output", command]);
  if (code !== 0) throw new Error(err);
  return { command, args: [], path: join(dir, "bin") };
}

/** A compiled program; `path` is its directory. */
export interface CompiledProgram extends Program {
  path: string;
}

/** The same program under another name: a link beside it, as a person makes it. */
export function linkedAs({ command, path }: CompiledProgram, name: string): CompiledProgram {
  const link = join(path, program(name));
  Deno.symlinkSync(command, link);
  return { command: link, args: [], path };
}

/**
 * A test that needs a compiled program which can be run. Where there is none it is listed as ignored, with the reason in
 * its name, so that a skip is seen and counted.
 */
export function compiledTest(
  choice: CompilerChoice,
  name: string,
  fn: (compiler: Compiler, t: Deno.TestContext) => Promise<void>,
): void {
  if (choice.kind === "runs") Deno.test(name, (t) => fn(choice.compiler, t));
  else Deno.test.ignore(`${name} (SKIPPED: ${choice.reason})`, () => {});
}
