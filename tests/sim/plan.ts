import {
  drawKinds,
  type FaultKind,
  type FaultName,
  Faults,
  TIMED_FAULTS,
  type TimedFault,
} from "./faults.ts";
import { Random } from "./random.ts";

export type ProviderKind = "claude" | "codex" | "echo";

/** One message that is posted in a run. */
export interface Posting {
  at: number;
  to: "agent" | "broadcast" | "capability";
  claimable: boolean;
  replyExpected: boolean;
  /** `message`: no turn with it can succeed. `stubborn`: its first turns fail. */
  poison: "none" | "message" | "stubborn";
}

/** Everything that is decided before a run begins; the seed decides all of it. */
export interface Plan {
  seed: number;
  provider: ProviderKind;
  headless: boolean;
  shape: "calm" | "single" | "swarm";
  /** No fault begins after it. */
  horizonMs: number;
  leaseMs: number;
  drainTimeoutMs: number;
  maxQueue: number;
  /** Texts kept in memory; beyond it they are left at the relay and fetched. */
  maxBodyBytes: number;
  /** Input that comes together shares one step and one commit. */
  batches: boolean;
  /** Ratio of the runner's monotonic clock to the relay's. */
  drift: number;
  rival: boolean;
  /** Long turns are very long, and the link is cut for longer than a lease. */
  longWork: boolean;
  postings: Posting[];
  timed: { kind: TimedFault; number: number; at: number }[];
}

/** What may be left out of a run, to find the least that still fails. */
export interface Without {
  faults: ReadonlySet<FaultName>;
  postings: ReadonlySet<number>;
}

export const NOTHING: Without = { faults: new Set(), postings: new Set() };

/**
 * Runs up to this seed are all long, with 20 messages and more, where faults meet most of each other: the test suite
 * and the hunt for known defects have theirs there. Beyond it most are short, so that a campaign can make many.
 */
const LONG_SEEDS = 10_000;

/** Draws the plan and the faults of a seed. */
export function planOf(
  seed: number,
  without: Without = NOTHING,
): { plan: Plan; faults: Faults; random: Random } {
  const random = new Random(seed);
  const shape = random.chance(0.1) ? "calm" : random.chance(0.1) ? "single" : "swarm";
  const provider = random.pick<ProviderKind>(["claude", "claude", "codex", "codex", "echo"]);
  const long = seed <= LONG_SEEDS || random.chance(0.3);
  const horizonMs = long ? random.between(40_000, 120_000) : random.between(10_000, 40_000);
  const active = shape === "calm" ? new Set<FaultKind>() : drawKinds(random, seed, shape);
  // Long work behind a short lease and a cut link is rare by chance, and where two agents do the same.
  const longWork = shape === "swarm" && seed % 10 === 9;
  if (longWork) {
    active.add("cut.long").add("turn.long");
    for (const kind of ["interrupt.ignored", "codex.drop", "clock.sleep"] as const) active.delete(kind);
  }
  const faults = new Faults(random.fork(1), {
    active: (kind) => active.has(kind),
    scale: random.pick([0.5, 1, 1, 2]),
    limit: shape === "single" ? 1 : Infinity,
    skip: without.faults,
  });
  const plan: Plan = {
    seed,
    provider,
    headless: random.chance(0.8),
    shape,
    horizonMs,
    leaseMs: longWork ? 10_000 : random.pick([60_000, 30_000, 10_000, 10_000]),
    drainTimeoutMs: random.pick([20_000, 20_000, 6_000]),
    maxQueue: random.chance(0.1) ? 8 : 1_000,
    maxBodyBytes: random.chance(0.1) ? 20 : 16 * 1024 * 1024,
    batches: random.chance(0.2),
    drift: random.between(0.998, 1.002),
    rival: random.chance(0.6),
    longWork,
    postings: postings(random.fork(2), { horizonMs, longWork, long }).filter((_, index) =>
      !without.postings.has(index)
    ),
    timed: timed(random.fork(3), active, horizonMs),
  };
  return { plan, faults, random: random.fork(4) };
}

function postings(
  random: Random,
  { horizonMs, longWork, long }: { horizonMs: number; longWork: boolean; long: boolean },
): Posting[] {
  const count = long ? 20 + random.int(8) : 3 + random.int(6);
  const drawn = random.pick([0, 0.3, 0.5, 1]);
  const claimableShare = longWork ? Math.max(0.5, drawn) : drawn;
  const poisonShare = random.chance(0.2) ? 0.1 : 0;
  // Some runs get their mail in one burst, most one by one.
  const spread = random.chance(0.3) ? 0.05 : 0.8;
  const all: Posting[] = [];
  for (let index = 0; index < count; index++) {
    const claimable = random.chance(claimableShare);
    all.push({
      at: random.next() * horizonMs * spread,
      to: claimable ? "capability" : random.chance(0.15) ? "broadcast" : "agent",
      claimable,
      replyExpected: random.chance(0.1),
      poison: random.chance(poisonShare) ? random.pick(["message", "stubborn"] as const) : "none",
    });
  }
  return all.sort((a, b) => a.at - b.at);
}

function timed(random: Random, active: ReadonlySet<FaultKind>, horizonMs: number): Plan["timed"] {
  const all: Plan["timed"] = [];
  for (const [index, kind] of TIMED_FAULTS.entries()) {
    const stream = random.fork(100 + index);
    if (!active.has(kind)) continue;
    const count = kind === "relay.new-store" || kind === "provider.crash-loop" ? 1 : 1 + stream.int(3);
    for (let number = 1; number <= count; number++) all.push({ kind, number, at: stream.next() * horizonMs });
  }
  return all;
}
