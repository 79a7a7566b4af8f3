import { finalCheck } from "./final_check.ts";
import type { Violation } from "./oracle.ts";
import type { Without } from "./plan.ts";
import { Tally } from "./tally.ts";
import { World } from "./world.ts";

/** What one seed's run showed. */
export interface SeedResult {
  seed: number;
  violations: Violation[];
  /** Hash over everything that happened and when: the same seed gives the same. */
  hash: number;
  world: World;
}

/**
 * Lets every microtask of the process run to its end. A macrotask of its own is the only way to be sure of that; with
 * many worlds side by side its cost is shared.
 */
function drained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Worlds that run side by side in one thread; they share nothing, so that each is as if it were alone. */
const SIDE_BY_SIDE = 4;

/** Runs seeds and calls `done` with each result, in the order in which they end. */
export async function runSeeds(
  seeds: Iterable<number>,
  done: (result: SeedResult) => void | "stop",
  options: { without?: Without; tell?: boolean } = {},
): Promise<void> {
  const source = seeds[Symbol.iterator]();
  const running: Run[] = [];
  let stopped = false;
  for (;;) {
    while (!stopped && running.length < SIDE_BY_SIDE) {
      const next = source.next();
      if (next.done) break;
      running.push(new Run(next.value, options));
    }
    if (running.length === 0) return;
    for (let index = running.length - 1; index >= 0; index--) {
      const run = running[index]!;
      if (run.advance()) continue;
      running.splice(index, 1);
      if (!stopped && done(run.result()) === "stop") stopped = true;
    }
    if (stopped) return;
    await drained();
  }
}

class Run {
  readonly world: World;
  readonly #seed: number;
  #hash = 0x811c9dc5;

  constructor(seed: number, options: { without?: Without; tell?: boolean }) {
    this.#seed = seed;
    this.world = new World(seed, options.without);
    if (options.tell) this.world.oracle.story = [];
  }

  advance(): boolean {
    const going = this.world.advance();
    this.#mix(this.world.timeline.now * 1_000);
    this.#mix(this.world.portCalls);
    return going;
  }

  #mix(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193) >>> 0;
  }

  result(): SeedResult {
    const { world } = this;
    const { oracle, faults } = world;
    if (oracle.violations.length === 0) finalCheck(world);
    const { tally } = oracle;
    tally.seeds = 1;
    tally.events = world.events;
    tally.portCalls = world.portCalls;
    if (tally.posted >= 20 && world.events >= 200) tally.busySeeds = 1;
    for (const [kind, count] of faults.fired) tally.faults.set(kind, count);
    return { seed: this.#seed, violations: oracle.violations, hash: this.#hash, world };
  }
}

/** Runs one seed alone. */
export async function runSeed(
  seed: number,
  options: { without?: Without; tell?: boolean } = {},
): Promise<SeedResult> {
  let result: SeedResult | undefined;
  await runSeeds([seed], (each) => {
    result = each;
  }, options);
  return result!;
}

/** Adds up results. */
export function addUp(results: Iterable<SeedResult>): Tally {
  const total = new Tally();
  for (const { world } of results) total.add(world.oracle.tally);
  return total;
}
