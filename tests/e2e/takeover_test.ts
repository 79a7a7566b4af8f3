import { assert, assertEquals } from "@std/assert";
import { TestHome } from "../support/runner_process.ts";
import { takeovers } from "../support/takeover.ts";
import { withTempDir } from "../support/temp.ts";

Deno.test("ten take-overs of the relay under load lose nothing that was accepted and give no work to two", async (t) => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const report = await takeovers(home, 10);
    await t.step(JSON.stringify(report), () => {});
    assertEquals([report.takeovers, report.lost, report.claimedTwice], [10, 0, 0]);
    assertEquals([report.killed, report.yielded], [8, 2]);
    assert(report.accepted >= 200 && report.claimable >= 50 && report.underLoad >= 5, JSON.stringify(report));
  });
});
