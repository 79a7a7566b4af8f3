import { Random } from "./random.ts";

/**
 * Kinds of faults. `chance` ones may fire at every opportunity with their rate; `timed` ones happen at moments that
 * are drawn when the run is planned.
 */
export const CHANCE_FAULTS = {
  "request.lost": 0.05,
  "reply.lost": 0.05,
  "reply.500": 0.05,
  "reply.garbage": 0.05,
  "call.delay": 0.05,
  "push.lost": 0.05,
  "push.duplicate": 0.05,
  "push.delay": 0.1,
  "crash.port": 0.01,
  "disk.error": 0.03,
  "disk.damage": 0.3,
  "hand.hang": 0.05,
  "hand.fail": 0.08,
  "provider.dies.early": 0.05,
  "turn.transient": 0.1,
  "turn.long": 0.2,
  "result.lost": 0.05,
  "stop.late": 0.1,
  "probe.unreadable": 0.3,
  "probe.slow": 0.1,
  "interrupt.ignored": 0.3,
  "shutdown.hangs": 0.3,
  "spawn.fails": 0.2,
  "spawn.slow": 0.2,
  "guard.dead": 0.5,
  "codex.overload": 0.1,
  "codex.paused": 0.2,
  "command.duplicate": 0.5,
  "rival.dies": 0.2,
  "provider.deaf": 0.03,
} as const;

export const TIMED_FAULTS = [
  "cut",
  "cut.silent",
  "cut.long",
  "relay.down",
  "relay.new-store",
  "crash.time",
  "provider.crash",
  "provider.crash-loop",
  "provider.quits",
  "provider.fault",
  "approval",
  "disk.full",
  "clock.step",
  "clock.sleep",
  "codex.drop",
  "signal",
  "signal.twice",
  "command.restart",
  "command.shutdown",
  "command.kill",
  "command.foreign",
  "letter.retry",
  "letter.drop",
] as const;

export type ChanceFault = keyof typeof CHANCE_FAULTS;
export type TimedFault = (typeof TIMED_FAULTS)[number];
export type FaultKind = ChanceFault | TimedFault;

const CHANCE_KINDS = Object.keys(CHANCE_FAULTS) as ChanceFault[];
export const FAULT_KINDS: readonly FaultKind[] = [...CHANCE_KINDS, ...TIMED_FAULTS];

/** Seeds of which one in so many has a provider that goes deaf. */
const DEAF_EVERY = 16;

/**
 * What the kinds of a run are drawn from. A kind that came later is in a run by its seed instead: one more to draw from
 * would make another run of every seed, of those that are kept as well.
 */
const DRAWN_KINDS: readonly FaultKind[] = FAULT_KINDS.filter((kind) => kind !== "provider.deaf");

/** Draws the kinds of faults of a run; `single` runs have one, the others a share of all. */
export function drawKinds(random: Random, seed: number, shape: "single" | "swarm"): Set<FaultKind> {
  if (shape === "single") return new Set([random.pick(DRAWN_KINDS)]);
  const share = random.pick([0.1, 0.25, 0.25, 0.5]);
  const kinds = new Set(DRAWN_KINDS.filter(() => random.chance(share)));
  if (seed % DEAF_EVERY === 7) kinds.add("provider.deaf");
  return kinds;
}

/** One fault of a run, named so that it can be left out of the next: `kind#number of its opportunity`. */
export type FaultName = string;

/**
 * The faults of one run, in two stages: each kind is in the run or not, and those that are fire now and then. Every
 * kind draws from a stream of its own, so that leaving one fault out moves no other.
 */
export class Faults {
  readonly fired = new Map<FaultKind, number>();
  readonly names: FaultName[] = [];
  readonly #streams = new Map<ChanceFault, { rate: number; random: Random; opportunities: number }>();
  readonly #skip: ReadonlySet<FaultName>;
  readonly #limit: number;
  #healed = false;

  constructor(
    random: Random,
    options: { active(kind: FaultKind): boolean; scale: number; limit: number; skip: ReadonlySet<FaultName> },
  ) {
    this.#skip = options.skip;
    this.#limit = options.limit;
    CHANCE_KINDS.forEach((kind, index) => {
      if (!options.active(kind)) return;
      const rate = Math.min(0.6, CHANCE_FAULTS[kind] * options.scale);
      this.#streams.set(kind, { rate, random: random.fork(index + 1), opportunities: 0 });
    });
  }

  /** True when this fault happens here and now. */
  fires(kind: ChanceFault): boolean {
    const stream = this.#streams.get(kind);
    if (stream === undefined || this.#healed) return false;
    stream.opportunities++;
    if (stream.random.next() >= stream.rate) return false;
    return this.happens(kind, stream.opportunities);
  }

  /** Notes a planned fault; false when it is to be left out or the world is healed. */
  happens(kind: FaultKind, number: number): boolean {
    if (this.#healed || this.names.length >= this.#limit) return false;
    const name = `${kind}#${number}`;
    if (this.#skip.has(name)) return false;
    this.names.push(name);
    this.fired.set(kind, (this.fired.get(kind) ?? 0) + 1);
    return true;
  }

  /** A number of the kind's own stream, for how the fault turns out. */
  draw(kind: ChanceFault): number {
    return this.#streams.get(kind)?.random.next() ?? 0.5;
  }

  get healed(): boolean {
    return this.#healed;
  }

  /** No fault fires from now on. */
  heal(): void {
    this.#healed = true;
  }
}
