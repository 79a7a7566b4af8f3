import { FAULT_KINDS } from "./faults.ts";
import type { Tally } from "./tally.ts";

/** What 5,000 seeds must have done at least; a run that did less has proven less than it says. */
export const FULL_COVERAGE_SEEDS = 5_000;

/** Every way a message's row on disk may go; one commit may take several steps at once. */
export const MESSAGE_TRANSITIONS: readonly string[] = [
  "claimed > delivering",
  "claimed > received",
  "dead > dropped",
  "dead > received",
  "delivering > claimed",
  "delivering > dead",
  "delivering > done",
  "delivering > failed",
  "delivering > held",
  "delivering > placed",
  "delivering > received",
  "delivering > retry",
  "delivering > seen",
  "delivering > skipped",
  "held > delivering",
  "held > received",
  "new > delivering",
  "new > received",
  "placed > dead",
  "placed > done",
  "placed > failed",
  "placed > held",
  "placed > received",
  "placed > retry",
  "placed > seen",
  "placed > skipped",
  "received > claimed",
  "received > delivering",
  "received > skipped",
  "retry > claimed",
  "retry > delivering",
  "retry > received",
  "seen > dead",
  "seen > done",
  "seen > failed",
  "seen > received",
  "seen > retry",
  "seen > skipped",
  "skipped > received",
];

/** Every way the provider may go, as seen after each event. */
export const PROVIDER_TRANSITIONS: readonly string[] = [
  "provider: none > spawning",
  "provider: ready > none",
  "provider: ready > stopping",
  "provider: ready > waiting",
  "provider: spawning > starting",
  "provider: spawning > stopping",
  "provider: spawning > waiting",
  "provider: starting > none",
  "provider: starting > ready",
  "provider: starting > stopping",
  "provider: starting > waiting",
  "provider: stopping > none",
  "provider: stopping > spawning",
  "provider: waiting > spawning",
];

/** Every way the run as a whole may go, as seen after each event. */
export const PHASE_TRANSITIONS: readonly string[] = [
  "phase: draining > ended",
  "phase: draining > stopping",
  "phase: running > draining",
  "phase: running > ended",
  "phase: running > stopping",
  "phase: stopping > ended",
  "phase: stopping > running",
];

/** Ways that are right and that 5,000 seeds need not find. */
export const RARE_TRANSITIONS: readonly string[] = [
  "dropped > received",
  "dropped > dead",
  "seen > delivering",
  "new > skipped",
  "provider: starting > spawning",
  "dropped > delivering",
  "placed > dropped",
  "provider: waiting > stopping",
  "claimed > skipped",
  "dead > delivering",
  "delivering > dropped",
  "held > claimed",
  "held > skipped",
  "phase: draining > running",
  "placed > claimed",
  "placed > delivering",
  "provider: failed > spawning",
  "provider: none > stopping",
  "provider: ready > failed",
  "provider: ready > spawning",
  "provider: spawning > failed",
  "provider: starting > failed",
  "retry > skipped",
  "seen > claimed",
  "skipped > delivering",
];

/** Ports at which a runner must have died at least once. */
export const CRASH_PORTS: readonly string[] = [
  "a moment",
  "adapter.spawn",
  "bus.claim",
  "bus.close",
  "bus.markRead",
  "bus.release",
  "bus.renew",
  "bus.reportStages",
  "bus.send",
  "bus.setStatus",
  "bus.statusAsync",
  "bus.updateCommand",
  "ending",
  "http.deleteAgent",
  "http.getMessage",
  "http.listDead",
  "http.listUnread",
  "journal.find",
  "journal.write",
  "session.deliver",
  "session.probe",
  "session.shutdown",
  "watchdog",
];

/** Situations that a good campaign gets into. */
export const SOMETIMES: readonly string[] = [
  "a damaged row was put aside",
  "a dead letter: drop",
  "a dead letter: retry",
  "a lease was renewed",
  "a message became a dead letter",
  "a message was delivered again",
  "a provider was started again after its death",
  "a provider that hung was ended",
  "a run ended: E_CRASH_LOOP",
  "a run ended: command",
  "a run ended: drained",
  "a run ended: provider",
  "a run ended: signal",
  "the machine slept",
  "the relay came back with a new store",
  "work was done by two because no ack could get through",
  "work was done by two because the agent could not be stopped",
  "work was done by two because the machine slept",
];

/** What the tally lacks, in words; empty when everything was reached. Transitions that are on no list are named too. */
export function missing(tally: Tally): string[] {
  const lacks: string[] = [];
  const expect = (what: string, names: readonly string[], seen: ReadonlyMap<string, number>) => {
    for (const name of names) if (!seen.get(name)) lacks.push(`${what} never: ${name}`);
  };
  const known = [...MESSAGE_TRANSITIONS, ...PROVIDER_TRANSITIONS, ...PHASE_TRANSITIONS];
  expect("transition", known, tally.transitions);
  const listed = new Set([...known, ...RARE_TRANSITIONS]);
  for (const name of tally.transitions.keys()) {
    if (!listed.has(name)) lacks.push(`transition on no list: ${name}`);
  }
  expect("fault", FAULT_KINDS, tally.faults);
  expect("crash at", CRASH_PORTS, tally.crashes);
  expect("sometimes", SOMETIMES, tally.sometimes);
  if (tally.crashesInFlight === 0) lacks.push("no crash of the runner found a message with the provider");
  if (tally.providerDeathsInFlight === 0) lacks.push("no death of the provider found a message with it");
  if (tally.busySeeds < tally.seeds * 0.25) {
    lacks.push(`only ${tally.busySeeds} of ${tally.seeds} runs had real work`);
  }
  return lacks;
}
