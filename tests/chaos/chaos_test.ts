import { assert, assertEquals } from "@std/assert";
import { withTempDir } from "../support/temp.ts";
import { runChaos } from "./chaos.ts";

Deno.test("sixty faults on real processes lose nothing, repeat nothing beyond the bounds and leave nothing behind", async () => {
  await withTempDir(async (dir) => {
    const report = await runChaos({
      seed: 1,
      faults: 60,
      worlds: 2,
      perRound: 10,
      pauseMs: 800,
      maxMs: 4_000,
      rate: 6,
      dir,
      providers: ["claude", "codex", "echo"],
      say: () => {},
    });
    const line = JSON.stringify(report);
    assertEquals(report.problems, [], line);
    // The work that was done: a run in which nothing happened proves nothing.
    assert(report.faults >= 60, line);
    assert(Object.keys(report.by_kind).length >= 15, line);
    assert(report.posted >= 80 && report.acked >= 80, line);
    assert(report.kills >= 10 && report.kills_in_flight >= 3, line);
    assertEquals(
      [report.lost, report.stuck, report.early_acks, report.rivalDup, report.orphans],
      [0, 0, 0, 0, 0],
      line,
    );
  });
});
