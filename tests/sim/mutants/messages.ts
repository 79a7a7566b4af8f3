import type { Mutant } from "./patch.ts";

const ANSWERS = "lib/runner/core/answers.ts";
const LEDGER = "lib/runner/core/ledger.ts";
const TURNS = "lib/runner/core/turns.ts";
const INTAKE = "lib/runner/core/intake.ts";
const PUMP = "lib/runner/core/pump.ts";
const ROW = "lib/inbox/core/row.ts";
const STEP = "lib/runner/core/step.ts";
const RUNNER = "lib/runner/runner.ts";

/** Defects in a message's life: acked too early, lost, stuck, given up, delivered twice or out of order. */
export const MESSAGE_MUTANTS: readonly Mutant[] = [
  {
    name: "ack at handed",
    defect: "writing a message to the agent's channel counts as its delivery",
    breaks: "I1",
    file: ROW,
    edits: [{
      find: `    case "seen":\n    case "failed":`,
      replace: `    case "delivering":\n    case "placed":\n    case "seen":\n    case "failed":`,
    }],
  },
  {
    name: "ack at placed",
    defect: "the agent's reply that it took the message counts as seen, though a 401 comes after it",
    breaks: "I1",
    file: ROW,
    edits: [{
      find: `    case "seen":\n    case "failed":`,
      replace: `    case "placed":\n    case "seen":\n    case "failed":`,
    }],
  },
  {
    name: "work acked at seen",
    defect: "claimed work is marked read as soon as the model begins it",
    breaks: "I1",
    file: ROW,
    edits: [{
      find: `return row.message !== null && !row.message.claimable;`,
      replace: `return row.message !== null;`,
    }],
  },
  {
    name: "failed turn is done",
    defect: "a turn that ends with an error (quota, login) counts as done",
    breaks: "I1",
    file: "lib/runner/core/provider.ts",
    edits: [{
      find: `failedTurn(state, effects, now, id, event.failure, event.reason);`,
      replace: `done(state, effects, now, id, "", event.reason);`,
    }],
  },
  {
    name: "unreadable record is done",
    defect: "a record that cannot be read is taken for a completed turn",
    breaks: "I1",
    file: TURNS,
    edits: [{
      find: `if (result.state === "unknown" && askAgain(state, now, row)) break;`,
      replace: `if (result.state === "unknown") {
          evidence(state, effects, now, deliveryId, "seen", "");
          done(state, effects, now, deliveryId, "", "");
          break;
        }`,
    }],
  },
  {
    name: "ids without their store",
    defect: "a relay that begins anew gets acks for messages it numbered again",
    breaks: "I1",
    file: PUMP,
    edits: [{
      find: `if (!row || row.storeId === LOCAL_STORE) continue;\n    if (isForeign(state, row)) {`,
      replace: `if (!row || row.storeId === LOCAL_STORE) continue;\n    if (state.storeId === "") {`,
    }],
  },
  {
    name: "hand-over error drops",
    defect: "an error while a message is handed over removes it from memory",
    breaks: "I17",
    file: STEP,
    edits: [{
      find: `state.suspects.set(row.key, now.mono + state.config.settleMs);`,
      replace: `ledger.move(state, effects, now, row, { state: "dead", reason: "x" });`,
    }],
  },
  {
    name: "ack failure forgotten",
    defect: "a markRead that failed is never tried again",
    breaks: "I2",
    file: ANSWERS,
    edits: [{
      find: `for (const key of keys) backOff(state, "ack", key, now);`,
      replace: `for (const key of keys) state.acks.set(key, Infinity);\n  void now;`,
    }],
  },
  {
    name: "reply failure forgotten",
    defect: "an answer that could not be sent is dropped",
    breaks: "I2",
    file: STEP,
    edits: [{
      find: `else answers.replyFailed(state, now, event.key);`,
      replace: `else answers.replied(state, effects, now, event.key);`,
    }],
  },
  {
    name: "retry never due",
    defect: "a message that waits for its next attempt waits for ever",
    breaks: "I2",
    file: PUMP,
    edits: [{
      find:
        `    state.retries.delete(key);\n    const row = state.rows.get(key);\n    if (row) requeue(state, effects, now, row);`,
      replace: `    state.retries.delete(key);`,
    }],
  },
  {
    name: "held for ever",
    defect: "what was held for a login is not taken up when the login is back",
    breaks: "I2",
    file: PUMP,
    edits: [{
      find: `if (state.fault === null || now.mono >= state.fault.retryAt) releaseHeld(state, effects, now);`,
      replace: `void releaseHeld;`,
    }],
  },
  {
    name: "back-off per message",
    defect: "every failure of one burst doubles the wait for the login",
    breaks: "I2",
    file: TURNS,
    edits: [{
      find: `if (fault !== null && fault.retryAt !== Infinity) {`,
      replace: `if (fault !== null && fault.tries < 0) {`,
    }],
  },
  {
    name: "provider's fault burns messages",
    defect: "an expired login makes the waiting messages dead letters",
    breaks: "I2",
    file: TURNS,
    edits: [{
      find: `  if (failure === "provider") {`,
      replace: `  if (failure === "provider" && row.attempt < 0) {`,
    }],
  },
  {
    name: "same attempt after a failed turn",
    defect: "a retry uses an identity that the agent has seen and does not run again",
    breaks: "I2",
    file: TURNS,
    edits: [{
      find: `const change = { attempt: row.attempt + 1, redelivery: row.redelivery + 1 };`,
      replace: `const change = { attempt: row.attempt, redelivery: row.redelivery + 1 };`,
    }],
  },
  {
    name: "poison is tried for ever",
    defect: "a message that can never succeed is no dead letter",
    breaks: "I2",
    file: TURNS,
    edits: [{
      find: `if (failure === "message" || failures >= state.config.maxFailures) {`,
      replace: `if (failures > 1_000) {`,
    }],
  },
  {
    name: "missing end unnoticed",
    defect: "a turn whose end was never told keeps the agent busy for ever",
    breaks: "I2",
    file: PUMP,
    edits: [{ find: `if (now.mono >= since + state.config.probeAfterMs &&`, replace: `if (since === -1 &&` }],
  },
  {
    name: "overflow forgotten",
    defect: "mail beyond the queue's bound is never fetched",
    breaks: "I2",
    file: INTAKE,
    edits: [{
      find:
        `    state.intake = "behind";\n    state.leftFrom = Math.min(state.leftFrom, message.id);\n    return;`,
      replace: `    return;`,
    }],
  },
  {
    name: "pushes held for ever",
    defect: "pushes that were held because the queue was full are not taken again when there is room",
    breaks: "I2",
    file: RUNNER,
    edits: [{
      find: `this.#ports.bus.holdPushes(this.#state.intake === "behind");`,
      replace: `if (this.#state.intake === "behind") this.#ports.bus.holdPushes(true);`,
    }],
  },
  {
    name: "restart drops what comes",
    defect: "mail that arrives while the provider is restarted is neither kept nor fetched",
    breaks: "I2",
    file: INTAKE,
    edits: [{
      find: `(phase.phase !== "running" && phase.then === "exit");`,
      replace: `phase.phase !== "running";`,
    }],
  },
  {
    name: "asked again at once",
    defect: "after a hand-over that failed the message is sent again without a look at the agent's record",
    breaks: "I3",
    file: STEP,
    edits: [{
      find: `state.suspects.set(row.key, now.mono + state.config.settleMs);`,
      replace: `ledger.requeue(state, effects, now, row, { redelivery: row.redelivery + 1 });`,
    }],
  },
  {
    name: "no look after a crash",
    defect: "a runner that was killed delivers again whatever it had in hand",
    breaks: "I3",
    file: "lib/runner/core/state.ts",
    edits: [{
      find: `const kept = row.state.state === "claimed" ?`,
      replace: `const kept = row.state.state === "claimed" || inFlight(row.state) ?`,
    }],
  },
  {
    name: "no settle wait",
    defect: "the agent's record is read before the last lines of the dead process are in it",
    breaks: "I3",
    file: "lib/runner/core/provider.ts",
    edits: [{
      find: `state.suspects.set(key, now.mono + state.config.settleMs);`,
      replace: `state.suspects.set(key, now.mono);`,
    }],
  },
  {
    name: "redelivery unmarked",
    defect: "the model is not told that it may have had the message",
    breaks: "I3",
    file: LEDGER,
    edits: [{
      find: `requeue(state, effects, now, row, { redelivery: row.redelivery + 1 });`,
      replace: `requeue(state, effects, now, row);`,
    }],
  },
  {
    name: "no memory of what ended",
    defect: "a message that the relay offers again is delivered again",
    breaks: "I3",
    file: INTAKE,
    edits: [{
      find: `if (dead === undefined && state.known.has(key)) {`,
      replace: `if (dead === undefined && state.known.size < 0) {`,
    }],
  },
  {
    name: "conversation forgotten",
    defect: "the id of the conversation is not kept, so that a new run asks an empty record",
    breaks: "I3",
    file: "lib/runner/core/provider.ts",
    edits: [{ find: `  effects.push({ type: "persist.resume", resume });`, replace: `` }],
  },
  {
    name: "newest first",
    defect: "mail is delivered in the wrong order",
    breaks: "I5",
    file: "lib/runner/core/waiting.ts",
    edits: [{ find: `line.splice(at, 0, entry);`, replace: `line.unshift(entry);` }],
  },
];
