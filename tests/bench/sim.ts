import { campaign } from "../sim/report.ts";

const SEEDS = 5_000;
/** Beyond the seeds whose runs are all long; from there on they are mixed as a campaign's are. */
const FROM = 20_001;

/** Seeds of the simulation per second on one core, and the work in them. */
export async function run(): Promise<Record<string, number>> {
  const { tally, failures, wallMs } = await campaign(FROM, SEEDS);
  if (failures.length > 0) throw new Error(`seed ${failures[0]!.seed} failed: ${failures[0]!.what}`);
  return {
    seeds_per_s: SEEDS / (wallMs / 1_000),
    events_per_seed: tally.events / SEEDS,
    messages_per_seed: tally.posted / SEEDS,
    long_seeds_share: tally.busySeeds / SEEDS,
  };
}
