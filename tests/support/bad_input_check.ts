import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { BadInput } from "./bad_inputs.ts";
import { processesWith, type Program, TestHome } from "./runner_process.ts";

/** Gives one bad input to the program in a home of its own, and checks the answer and that nothing was started. */
export async function checkBadInput(
  input: BadInput,
  dir: string,
  env: Record<string, string> = {},
  program?: Program,
): Promise<void> {
  await using home = new TestHome(dir, env, program);
  input.prepare?.(home);
  const { code, out, err } = await home.run(input.args, { env: input.env ?? {}, below: input.below ?? [] });
  const lines = err.split("\n").filter((line) => line !== "");
  assertEquals(lines.length, 1, err);
  assertStringIncludes(lines[0]!, `runner: error[${input.code}]: `);
  assertMatch(lines[0]!, input.says);
  assertEquals(err.includes("s3cret-token-value"), false, "the secret was repeated");
  assertEquals([code, out], [input.exit, ""]);
  assertEquals(await processesWith(`HOME=${dir}`), []);
}
