import { assertEquals } from "@std/assert";
import { runSeeds } from "./run.ts";

Deno.test("no promise is broken in any of 500 seeds", async () => {
  const failed: string[] = [];
  await runSeeds(Array.from({ length: 500 }, (_, index) => index + 1), ({ seed, violations }) => {
    for (const { id, what } of violations) failed.push(`seed ${seed}: ${id} ${what}`);
  });
  assertEquals(failed, []);
});
