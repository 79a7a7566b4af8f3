/** `deno task campaign sim [--seeds N] [--from S]`: the seeded simulation at length, on one core. */
import { FULL_COVERAGE_SEEDS, missing } from "../sim/coverage.ts";
import { campaign, figures } from "../sim/report.ts";
import { taskArgs } from "../support/task_args.ts";
import type { CampaignReport } from "./main.ts";

const SEEDS = 1_000_000;

export async function run(args: readonly string[]): Promise<CampaignReport> {
  const options = taskArgs(args, { string: ["seeds", "from"] });
  const count = Number(options.seeds ?? SEEDS);
  const result = await campaign(
    Number(options.from ?? 1),
    count,
    (done) => Deno.stderr.writeSync(new TextEncoder().encode(`\r${done} of ${count}`)),
  );
  Deno.stderr.writeSync(new TextEncoder().encode("\n"));
  const lacks = count >= FULL_COVERAGE_SEEDS ? missing(result.tally) : [];
  return {
    ok: result.failures.length === 0 && result.unsteady.length === 0 && lacks.length === 0,
    ...figures(result),
    failures: result.failures.slice(0, 20),
    unsteady_seeds: result.unsteady.slice(0, 20),
    lacks,
  };
}
