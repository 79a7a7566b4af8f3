import type { InvariantId } from "./invariants.ts";
import { type Without } from "./plan.ts";
import { runSeed, type SeedResult } from "./run.ts";

/** Runs that a search may take. */
const BUDGET = 600;

/** The least that still breaks the promise: what is left out of the seed's run, and that run. */
export interface Shrunk {
  without: Without;
  result: SeedResult;
  runs: number;
}

/**
 * Leaves out faults, then messages, as long as the same invariant is still broken: first in large pieces, at last one
 * by one.
 */
export async function shrink(seed: number, id: InvariantId): Promise<Shrunk> {
  let without: Without = { faults: new Set(), postings: new Set() };
  let result = await runSeed(seed, { without });
  let runs = 1;
  const attempt = async (next: Without): Promise<boolean> => {
    runs++;
    const tried = await runSeed(seed, { without: next });
    if (tried.violations[0]?.id !== id) return false;
    without = next;
    result = tried;
    return true;
  };
  for (let before = -1; before !== without.faults.size + without.postings.size && runs < BUDGET;) {
    before = without.faults.size + without.postings.size;
    // What fires depends on what is left out, so the list is taken anew from each run that still fails.
    await reduce(
      () => result.world.faults.names,
      (names) => attempt({ ...without, faults: new Set([...without.faults, ...names]) }),
    );
    await reduce(
      () => indexes(result.world.plan.postings.length, without.postings),
      (posts) => attempt({ ...without, postings: new Set([...without.postings, ...posts]) }),
    );
  }
  return { without, result, runs };

  async function reduce<T>(items: () => readonly T[], drop: (some: T[]) => Promise<boolean>): Promise<void> {
    for (let size = Math.max(1, items().length >> 1); runs < BUDGET; size = size >> 1) {
      for (let at = 0; at < items().length && runs < BUDGET;) {
        if (!await drop(items().slice(at, at + size))) at += size;
      }
      if (size <= 1) return;
    }
  }
}

/** Numbers of the postings that are still in the run, of `kept` in all. */
function indexes(kept: number, dropped: ReadonlySet<number>): number[] {
  const all: number[] = [];
  for (let index = 0; all.length < kept; index++) if (!dropped.has(index)) all.push(index);
  return all;
}
