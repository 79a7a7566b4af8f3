/**
 * Runs in a copy of the program with one defect in it: looks for the first seed that fails and prints it as one JSON
 * line. Arguments: how many seeds at most.
 */
import { runSeeds } from "../run.ts";

if (import.meta.main) {
  const limit = Number(Deno.args[0]);
  let caught: { seed: number; ids: string[]; what: string } | null = null;
  await runSeeds(Array.from({ length: limit }, (_, index) => index + 1), ({ seed, violations }) => {
    if (violations.length === 0) return;
    caught = { seed, ids: [...new Set(violations.map(({ id }) => id))], what: violations[0]!.what };
    return "stop";
  });
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(caught) + "\n"));
}
