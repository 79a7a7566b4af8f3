/**
 * `deno task campaign takeover [times]`: runners of one home take the relay over from each other, 50 times, while
 * senders send mail and claimable work. Nothing that was accepted may be lost, no work may be done by two.
 */
import { TestHome } from "../support/runner_process.ts";
import { takeovers } from "../support/takeover.ts";
import { countArg } from "../support/task_args.ts";
import { withTempDir } from "../support/temp.ts";
import type { CampaignReport } from "./main.ts";

const TIMES = 50;

export async function run(args: readonly string[]): Promise<CampaignReport> {
  const times = countArg(args, TIMES);
  const report = await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    return await takeovers(home, times);
  });
  const { lost, claimedTwice, underLoad, accepted, claimable } = report;
  const worked = report.takeovers === times && accepted >= 20 * times && claimable > 0 &&
    underLoad >= times / 2;
  return { ok: lost === 0 && claimedTwice === 0 && worked, ...report };
}
