import { join } from "@std/path";
import { chooseCompiler, type CompiledProgram, compiledProgram } from "../support/compiled.ts";

/** The compiled program, and something bare to compare it with. */
export interface CompiledPair {
  runner: CompiledProgram;
  /** Path of the bare program. */
  bare: string;
}

/**
 * Compiles the program, and `source` with the same runtime and the permission flags `flags`, into `dir`. Null where this
 * machine has no runtime to embed: see `.ci/denort.sh`.
 */
export async function compiledPair(
  dir: string,
  source: string,
  flags: readonly string[] = [],
): Promise<CompiledPair | null> {
  const choice = await chooseCompiler();
  if (choice.kind !== "runs") return null;
  const { compiler } = choice;
  const runner = await compiledProgram(compiler, dir);
  const [script, bare] = [join(dir, "bare.ts"), join(dir, "bare")];
  await Deno.writeTextFile(script, source);
  const { code, stderr } = await new Deno.Command(compiler.deno, {
    args: ["compile", "--quiet", "--no-config", "--no-check", ...flags, "--output", bare, script],
    env: compiler.denort === null ? {} : { DENORT_BIN: compiler.denort },
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return { runner, bare };
}

/** The same figures under names of their own. */
export function prefixed(prefix: string, figures: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [`${prefix}_${name}`, value]));
}

/** Makes a directory below another one. */
export function subdirectory(dir: string, name: string): string {
  const path = join(dir, name);
  Deno.mkdirSync(path);
  return path;
}
