import { FAULT_KINDS } from "./faults.ts";
import type { Tally } from "./tally.ts";

/** What 5,000 seeds must have done at least; a run that did less has proven less than it says. */
export const FULL_COVERAGE_SEEDS = 5_000;

/** Every way a message's row on disk may go; one commit may take several steps at once. */
export const MESSAGE_TRANSITIONS: readonly string[] = [];

/** Every way the provider may go, as seen after each event. */
export const PROVIDER_TRANSITIONS: readonly string[] = [];

/** Every way the run as a whole may go, as seen after each event. */
export const PHASE_TRANSITIONS: readonly string[] = [];

/** Ports at which a runner must have died at least once. */
export const CRASH_PORTS: readonly string[] = [];

/** Situations that a good campaign gets into. */
export const SOMETIMES: readonly string[] = [];

/** What the tally lacks, in words; empty when everything was reached. Transitions that are on no list are named too. */
export function missing(tally: Tally): string[] {
  const lacks: string[] = [];
  const expect = (what: string, names: readonly string[], seen: ReadonlyMap<string, number>) => {
    for (const name of names) if (!seen.get(name)) lacks.push(`${what} never: ${name}`);
  };
  const known = [...MESSAGE_TRANSITIONS, ...PROVIDER_TRANSITIONS, ...PHASE_TRANSITIONS];
  expect("transition", known, tally.transitions);
  const listed = new Set(known);
  for (const name of tally.transitions.keys()) {
    if (!listed.has(name)) lacks.push(`transition on no list: ${name}`);
  }
  expect("fault", FAULT_KINDS, tally.faults);
  expect("crash at", CRASH_PORTS, tally.crashes);
  expect("sometimes", SOMETIMES, tally.sometimes);
  if (tally.crashesInFlight === 0) lacks.push("no crash of the runner found a message with the provider");
  if (tally.providerDeathsInFlight === 0) lacks.push("no death of the provider found a message with it");
  if (tally.busySeeds < tally.seeds * 0.8) {
    lacks.push(`only ${tally.busySeeds} of ${tally.seeds} runs had real work`);
  }
  return lacks;
}
