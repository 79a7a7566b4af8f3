import { assertEquals } from "@std/assert";
import { hunt, MUTANT_SEEDS, MUTANTS } from "./mutants/mod.ts";

/** Fewer would not show that the invariants are worth anything. */
const LEAST = 34;

Deno.test(`every known defect is caught within ${MUTANT_SEEDS} seeds by the promise that it breaks`, async () => {
  assertEquals(MUTANTS.length >= LEAST, true, `${MUTANTS.length} mutants`);
  assertEquals(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, "names are unique");
  const hunts = await hunt(MUTANTS);
  const missed = hunts.filter(({ outcome }) => outcome.is !== "caught").map((
    { mutant, outcome },
  ) => [mutant.name, outcome]);
  assertEquals(missed, []);
  assertEquals(hunts.length, MUTANTS.length);
});
