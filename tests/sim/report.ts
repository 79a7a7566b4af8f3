import type { InvariantId } from "./invariants.ts";
import { runSeed, runSeeds } from "./run.ts";
import { Tally } from "./tally.ts";

/** One seed in this many is run twice; both runs must be the same to the last event. */
const TWICE_EVERY = 100;

/** What a range of seeds showed. */
export interface Campaign {
  tally: Tally;
  /** Failed seeds with the promise that each broke first. */
  failures: { seed: number; id: InvariantId; what: string }[];
  /** Seeds that went two ways. */
  unsteady: number[];
  /** Seeds that were run twice. */
  repeated: number;
  wallMs: number;
}

/** Runs `count` seeds from `from` on. */
export async function campaign(
  from: number,
  count: number,
  progress?: (done: number) => void,
): Promise<Campaign> {
  const tally = new Tally();
  const failures: Campaign["failures"] = [];
  const hashes = new Map<number, number>();
  const began = performance.now();
  let done = 0;
  await runSeeds(range(from, count), ({ seed, violations, hash, world }) => {
    tally.add(world.oracle.tally);
    const [first] = violations;
    if (first !== undefined) failures.push({ seed, id: first.id, what: first.what });
    if (seed % TWICE_EVERY === 0) hashes.set(seed, hash);
    if (++done % 1_000 === 0) progress?.(done);
  });
  const unsteady: number[] = [];
  // Alone this time: its neighbours must make no difference either.
  for (const [seed, hash] of hashes) if ((await runSeed(seed)).hash !== hash) unsteady.push(seed);
  return { tally, failures, unsteady, repeated: hashes.size, wallMs: performance.now() - began };
}

function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed++) yield seed;
}

/** The figures as one flat object. */
export function figures({ tally, failures, unsteady, repeated, wallMs }: Campaign): Record<string, unknown> {
  const of = (id: InvariantId) => failures.filter((failure) => failure.id === id).length;
  return {
    seeds: tally.seeds,
    failed: failures.length,
    early_acks: of("I1"),
    lost_or_stuck: of("I2"),
    dup: of("I3"),
    rivalDup: of("I4"),
    repeated,
    unsteady: unsteady.length,
    posted: tally.posted,
    turns: tally.turns,
    acked: tally.acks,
    dead: tally.dead,
    duplicates_within_bound: tally.duplicates,
    rival_done: tally.rivalDone,
    runner_starts: tally.starts,
    crashes: [...tally.crashes.values()].reduce((sum, count) => sum + count, 0),
    crashes_in_flight: tally.crashesInFlight,
    provider_deaths_in_flight: tally.providerDeathsInFlight,
    busy_seeds: tally.busySeeds,
    events: tally.events,
    port_calls: tally.portCalls,
    faults: [...tally.faults.values()].reduce((sum, count) => sum + count, 0),
    by_kind: sorted(tally.faults),
    crash_ports: sorted(tally.crashes),
    transitions: tally.transitions.size,
    sometimes: sorted(tally.sometimes),
    seeds_per_s: Math.round(tally.seeds / (wallMs / 1_000)),
  };
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([a], [b]) => a < b ? -1 : 1));
}
