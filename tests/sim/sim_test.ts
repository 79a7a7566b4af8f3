import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { FULL_COVERAGE_SEEDS, missing } from "./coverage.ts";
import { NOTHING } from "./plan.ts";
import { campaign } from "./report.ts";
import { runSeed } from "./run.ts";
import seeds from "../seeds.json" with { type: "json" };

Deno.test(`no promise is broken in ${FULL_COVERAGE_SEEDS} seeds, and they reach everything they are there for`, async () => {
  const { tally, failures, unsteady, repeated } = await campaign(1, FULL_COVERAGE_SEEDS);
  assertEquals(failures, [], "deno task sim --seed N tells the story of one");
  assertEquals(unsteady, []);
  assertEquals([tally.seeds, repeated], [FULL_COVERAGE_SEEDS, FULL_COVERAGE_SEEDS / 100]);
  assertEquals(missing(tally), []);
});

Deno.test("no promise is broken in the seeds that once broke one", async () => {
  for (const { seed, found } of seeds) {
    const { violations } = await runSeed(seed);
    assertEquals(violations, [], `seed ${seed}: ${found}`);
  }
});

Deno.test("a seed is one run: the same twice, another one without one of its faults", async () => {
  const seed = 3317;
  const first = await runSeed(seed);
  const again = await runSeed(seed, { tell: true });
  assertEquals(again.hash, first.hash);
  assert(again.world.oracle.story!.length > 50);
  const [fault] = first.world.faults.names;
  assert(fault !== undefined, "the seed has faults");
  const without = await runSeed(seed, { without: { ...NOTHING, faults: new Set([fault]) } });
  assertNotEquals(without.hash, first.hash);
  assert(!without.world.faults.names.includes(fault));
});
