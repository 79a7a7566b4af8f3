import type { FaultKind } from "./faults.ts";

/** The work that one or many runs did, so that a pass can be told from a run that did nothing. */
export class Tally {
  seeds = 0;
  /** Runs with at least 20 messages and 200 events. */
  busySeeds = 0;
  events = 0;
  portCalls = 0;
  posted = 0;
  turns = 0;
  acks = 0;
  starts = 0;
  duplicates = 0;
  rivalDone = 0;
  rivalDuplicates = 0;
  dead = 0;
  /** Runner crashes that found a message with the provider. */
  crashesInFlight = 0;
  providerDeathsInFlight = 0;
  readonly crashes = new Map<string, number>();
  readonly faults = new Map<FaultKind, number>();
  readonly transitions = new Map<string, number>();
  readonly sometimes = new Map<string, number>();

  transition(name: string): void {
    this.transitions.set(name, (this.transitions.get(name) ?? 0) + 1);
  }

  add(other: Tally): void {
    for (const name of COUNTS) this[name] += other[name];
    for (const name of MAPS) merge(this[name], other[name]);
  }
}

const COUNTS = [
  "seeds",
  "busySeeds",
  "events",
  "portCalls",
  "posted",
  "turns",
  "acks",
  "starts",
  "duplicates",
  "rivalDone",
  "rivalDuplicates",
  "dead",
  "crashesInFlight",
  "providerDeathsInFlight",
] as const;
const MAPS = ["crashes", "faults", "transitions", "sometimes"] as const;

function merge(into: Map<string, number>, from: ReadonlyMap<string, number>): void {
  for (const [key, count] of from) into.set(key, (into.get(key) ?? 0) + count);
}

export function newTally(): Tally {
  return new Tally();
}
