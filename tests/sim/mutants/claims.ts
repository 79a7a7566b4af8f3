import type { Mutant } from "./patch.ts";

const LEDGER = "lib/runner/core/ledger.ts";
const PUMP = "lib/runner/core/pump.ts";
const RELAY = "lib/runner/relay_actions.ts";
const WRITER = "lib/runner/journal_writer.ts";

/** Defects in claims, in what is written before what, and in bounds. */
export const CLAIM_MUTANTS: readonly Mutant[] = [
  {
    name: "lost claim delivered",
    defect: "a claim that another agent won is worked on all the same",
    breaks: "I4",
    file: RELAY,
    edits: [{
      find: `if (result.kind === "lost") {`,
      replace:
        `if (result.kind === "lost") {\n          return this.#post({ type: "claim.won", key, sentAt: sent.mono, leaseMs: 60_000 });`,
    }],
  },
  {
    name: "lease neither renewed nor watched",
    defect: "a claim that waited longer than its lease is kept for ever and never worked on",
    breaks: "I2",
    file: PUMP,
    edits: [
      {
        find:
          `    lease.renewing = true;\n    effects.push({ type: "renew", key, messageId: row.messageId });`,
        replace: ``,
      },
      { find: `if (now.mono >= lapsesAt(lease)) lapse(state, effects, now, key);`, replace: `void lapse;` },
    ],
  },
  {
    name: "lapse unnoticed",
    defect: "with the relay out of reach the work goes on after its lease has run out",
    breaks: "I4",
    file: PUMP,
    edits: [{
      find: `if (now.mono >= lapsesAt(lease)) lapse(state, effects, now, key);`,
      replace: `void lapse;`,
    }],
  },
  {
    name: "work goes on after the claim is lost",
    defect: "neither a lost lease nor one that ran out stops the turn",
    breaks: "I4",
    file: "lib/runner/provider_host.ts",
    edits: [{ find: `return await (await this.#current?.session)?.interrupt();`, replace: `return;` }],
  },
  {
    name: "any rest of a lease will do",
    defect: "work is begun on a lease that is about to run out",
    breaks: "I4",
    file: PUMP,
    edits: [{
      find: `return lease.sentAt + lease.leaseMs - now.mono >= Math.max(5_000, lease.leaseMs * 0.2);`,
      replace: `return lease.sentAt !== -now.mono;`,
    }],
  },
  {
    name: "lease counted from the answer",
    defect: "a slow relay's lease is believed to last longer than it does",
    breaks: "I4",
    file: RELAY,
    edits: [{
      find: `const sentAt = mono - Math.max(mono - sent.mono, clock.wall() - sent.wall);`,
      replace: `const sentAt = mono;`,
    }],
  },
  {
    name: "sleep unnoticed",
    defect: "after the lid was closed work is done on a lease that ran out meanwhile",
    breaks: "I4",
    file: "lib/runner/core/step.ts",
    edits: [{
      find: `if (Math.abs(aheadMs) < SLEEP_MS) return;`,
      replace: `if (Math.abs(aheadMs) < Infinity) return;`,
    }],
  },
  {
    name: "deliver before the journal",
    defect: "a message is handed over before the journal says so",
    breaks: "I3",
    file: WRITER,
    edits: [{
      find: `if (lazy) return this.#later(), effects;`,
      replace: `return this.#later(), effects;`,
    }],
  },
  {
    name: "full disk ignored",
    defect: "with a disk that takes nothing, messages are handed over all the same",
    breaks: "I3",
    file: WRITER,
    edits: [{
      find: `return effects.filter((effect) => !this.#refuses(effect));`,
      replace: `return effects;`,
    }],
  },
  {
    name: "full disk for ever",
    defect: "a disk that has room again is not tried",
    breaks: "I8",
    file: WRITER,
    edits: [{
      find: `setTimer(delayMs, () => this.#retry());`,
      replace: `setTimer(delayMs, () => void this.#retry);`,
    }],
  },
  {
    name: "no window",
    defect: "everything that waits is handed over at once",
    breaks: "I17",
    file: PUMP,
    edits: [{ find: `while (occupied(state) < window) {`, replace: `while (occupied(state) < 1_000) {` }],
  },
  {
    name: "hand-over without a deadline",
    defect: "an agent that takes no input holds a delivery for ever",
    breaks: "I12",
    file: "lib/runner/provider_host.ts",
    edits: [{ find: `() => abort.abort(new Error("hand-over took over 30 s")),`, replace: `() => {},` }],
  },
  {
    name: "tick for what is past",
    defect: "the runner wakes every millisecond for something that waits for an event",
    breaks: "I12",
    file: "lib/runner/core/due.ts",
    edits: [{ find: `if (at > stepped && at < due) due = at;`, replace: `if (at < due) due = at;` }],
  },
  {
    name: "lost claim is known",
    defect: "work whose winner died is not taken when the relay offers it again",
    breaks: "I2",
    file: LEDGER,
    edits: [{
      find: `  if (row.state.state === "skipped") {\n`,
      replace: `  if (row.state.state === "skipped" && row.attempt < 0) {\n`,
    }],
  },
];
