import type { JournalRow } from "../../inbox/contract.ts";
import { inFlight, LOCAL_STORE } from "../../inbox/core/row.ts";
import type { FailureClass, ProbeResult } from "../../providers/contract.ts";
import { isForeign } from "./claims.ts";
import { giveUp } from "./hang.ts";
import { move, putBack, report, requeue, rowOf, takeUp } from "./ledger.ts";
import type { Effect, Fault, Now, State } from "./types.ts";

/** First back-off after a failed turn; doubles up to {@linkcode RETRY_CAP_MS}. */
const RETRY_BASE_MS = 1_000;
const RETRY_CAP_MS = 60_000;

/** Times the provider's record is asked before an unreadable one counts as empty. */
const UNREADABLE_TRIES = 3;

/** Times that a provider may be given a message without a trace of it before it is taken for hung. */
const TRACELESS = 2;

/** Proof arrived. Evidence of an attempt that is over is ignored. */
export function evidence(
  state: State,
  effects: Effect[],
  now: Now,
  deliveryId: string,
  stage: "placed" | "seen",
  proof: string,
): void {
  const row = takeUp(state, effects, now, deliveryId);
  if (!row || !inFlight(row.state)) return;
  state.progress.set(row.key, now.mono);
  state.suspects.delete(row.key);
  const carried = { deliveryId, incarnation: row.state.incarnation, evidence: proof };
  if (stage === "placed") {
    if (row.state.state !== "delivering") return;
    report(
      state,
      effects,
      now,
      move(state, effects, now, row, { state: "placed", ...carried }),
      "placed",
      proof,
    );
    return;
  }
  if (row.state.state === "seen") return;
  report(state, effects, now, move(state, effects, now, row, { state: "seen", ...carried }), "seen", proof);
  // The model answered, so whatever was wrong with the provider is mended.
  state.fault = null;
}

/** The turn completed: the message is done, and its answer goes back when one was asked for. */
export function done(
  state: State,
  effects: Effect[],
  now: Now,
  deliveryId: string,
  text: string,
  proof: string,
): void {
  const row = takeUp(state, effects, now, deliveryId);
  if (!row || !inFlight(row.state)) return;
  state.run.text = text;
  const wantsReply = row.message?.replyExpected === true;
  const ended = move(state, effects, now, row, { state: "done", deliveryId, evidence: proof }, {
    reply: wantsReply ? text : null,
  });
  report(state, effects, now, ended, "done", proof);
}

/** The turn failed. What follows depends on whether the model had the message and on the class of the failure. */
export function failedTurn(
  state: State,
  effects: Effect[],
  now: Now,
  deliveryId: string,
  failure: FailureClass,
  reason: string,
): void {
  const row = takeUp(state, effects, now, deliveryId);
  if (!row || !inFlight(row.state)) return;
  const direct = row.message === null || !row.message.claimable;
  if (row.state.state === "seen" && direct) {
    const ended = move(state, effects, now, row, { state: "failed", deliveryId, reason });
    report(state, effects, now, ended, "failed", reason);
    return;
  }
  const change = { attempt: row.attempt + 1, redelivery: row.redelivery + 1 };
  if (failure === "cancelled" && !direct && (!state.leases.has(row.key) || state.lapsed.has(deliveryId))) {
    // Stopped because its lease ran out, which says nothing about the message.
    anew(state, effects, now, row);
    return;
  }
  if (failure === "limit") {
    // The budget is the run's, not the message's: another run may do it.
    anew(state, effects, now, row);
    return;
  }
  if (failure === "provider") {
    const held = move(state, effects, now, row, { state: "held", reason }, change);
    report(state, effects, now, held, "held", reason);
    holdQueue(state, now, reason, "turn");
    // Another agent may have no such trouble.
    if (state.leases.delete(row.key) && !isForeign(state, row)) {
      effects.push({ type: "release", messageId: row.messageId });
    }
    return;
  }
  // The turn got beyond what had failed at the login or the quota; the fault shows itself again if it is still there.
  if (failure !== "cancelled" && state.fault?.shownBy === "turn") state.fault = null;
  const failures = row.failures + 1;
  if (failure === "message" || failures >= state.config.maxFailures) {
    bury(state, effects, now, { ...row, failures }, reason);
    return;
  }
  const backoff = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** (failures - 1));
  const retry = move(state, effects, now, row, {
    state: "retry",
    failure,
    reason,
    notBefore: now.wall + backoff,
  }, {
    ...change,
    failures,
  });
  report(state, effects, now, retry, "retry", reason);
}

/**
 * The provider lives and has no trace of what it was given. One that says that it does not take the message is believed, and
 * given it again; one that says nothing hangs when that happens twice. No message is handed over for ever; it keeps its
 * place in line meanwhile, and its attempt, as always when no turn is proven to have failed. An agent in a terminal is not
 * ended under the hands of its person, who sees it hang, or has suspended it: the next try waits longer each time.
 */
function notTaken(state: State, effects: Effect[], now: Now, row: JournalRow, deliveryId: string): void {
  const refusal = state.refused.get(deliveryId);
  const times = (state.traceless.get(row.key) ?? 0) + 1;
  state.traceless.set(row.key, times);
  if (refusal !== undefined && times >= state.config.maxFailures) {
    return bury(state, effects, now, row, refusal);
  }
  if (refusal !== undefined || times < TRACELESS) return putBack(state, effects, now, row, deliveryId);
  const failed = { ...row, failures: row.failures + 1 };
  if (failed.failures < state.config.maxFailures) putBack(state, effects, now, failed, deliveryId);
  else bury(state, effects, now, failed, "the agent takes it and shows no trace of it");
  if (state.config.headless) giveUp(state, effects, "it takes messages and does nothing with them");
  else holdQueue(state, now, "the agent takes messages and shows no trace of them", "turn");
}

/** Gives a message up: it is parked for a person, here and at the relay. */
export function bury(state: State, effects: Effect[], now: Now, row: JournalRow, reason: string): void {
  const claimed = state.leases.has(row.key);
  const dead = move(state, effects, now, row, { state: "dead", reason }, { failures: row.failures });
  report(state, effects, now, dead, "dead", reason);
  // Another agent may manage what this one could not; the relay offers it again.
  if (claimed && !isForeign(state, row)) effects.push({ type: "release", messageId: row.messageId });
  effects.push({
    type: "log",
    level: "warn",
    message: row.storeId === LOCAL_STORE ? "the prompt is given up" : "message is a dead letter",
    // The run's own prompt has a number that nobody knows.
    fields: row.storeId === LOCAL_STORE ? { reason } : { messageId: row.messageId, reason },
  });
}

/**
 * Stops deliveries until the provider is mended; tries again after 60 s, doubling to 10 min. Failures of what was in
 * flight together are one finding: only a failed trial makes the wait longer.
 */
export function holdQueue(state: State, now: Now, reason: string, shownBy: Fault["shownBy"]): void {
  const { fault } = state;
  if (fault !== null && fault.retryAt !== Infinity) {
    state.fault = { ...fault, reason };
    return;
  }
  const tries = fault === null ? 0 : fault.tries + 1;
  state.fault = { reason, shownBy, tries, retryAt: now.mono + Math.min(600_000, 60_000 * 2 ** tries) };
}

/** The provider's own record was asked for deliveries whose fate was unclear. */
export function probed(state: State, effects: Effect[], now: Now, results: Map<string, ProbeResult>): void {
  for (const [deliveryId, result] of results) {
    const row = rowOf(state, deliveryId);
    if (!row || !inFlight(row.state)) continue;
    state.suspects.delete(row.key);
    state.progress.set(row.key, now.mono);
    switch (result.state) {
      case "placed":
        if (row.state.state === "placed" && row.state.evidence === result.evidence) {
          // Asked twice, and the idle provider still sits on it: that turn will never come.
          failedTurn(
            state,
            effects,
            now,
            deliveryId,
            "cancelled",
            "the provider holds it without running it",
          );
        } else if (row.state.state === "seen") {
          failedTurn(state, effects, now, deliveryId, "cancelled", "the turn ended without a result");
        } else {
          move(state, effects, now, row, {
            state: "placed",
            deliveryId,
            incarnation: row.state.incarnation,
            evidence: result.evidence,
          });
          report(state, effects, now, row, "placed", result.evidence);
        }
        break;
      case "seen":
        evidence(state, effects, now, deliveryId, "seen", result.evidence);
        failedTurn(state, effects, now, deliveryId, "cancelled", "the turn was cut off");
        break;
      case "done":
        evidence(state, effects, now, deliveryId, "seen", result.evidence);
        done(state, effects, now, deliveryId, result.text, result.evidence);
        break;
      case "failed":
        if (
          result.failure === "provider" && row.state.state !== "seen" &&
          row.state.incarnation !== state.incarnation
        ) {
          // What was wrong with a process that is gone (login, quota) has to show itself again. A queue that is held
          // for it would stand still although a person has mended it and started the agent anew.
          anew(state, effects, now, row);
        } else failedTurn(state, effects, now, deliveryId, result.failure, result.reason);
        break;
      case "absent":
      case "unknown":
        if (result.state === "unknown" && askAgain(state, now, row)) break;
        if (row.state.state === "seen") {
          failedTurn(state, effects, now, deliveryId, "cancelled", "the turn was cut off");
        } else if (result.state === "absent" && row.state.incarnation === state.incarnation) {
          notTaken(state, effects, now, row, deliveryId);
        } else {
          putBack(state, effects, now, row, deliveryId);
        }
        break;
    }
  }
}

/** True while a record that could not be read is worth another look: nothing is concluded from one failure. */
function askAgain(state: State, now: Now, row: JournalRow): boolean {
  const tries = (state.tries.get(`probe ${row.key}`) ?? 0) + 1;
  if (tries >= UNREADABLE_TRIES) return false;
  state.tries.set(`probe ${row.key}`, tries);
  state.suspects.set(row.key, now.mono + state.config.settleMs);
  return true;
}

/** A new attempt at once: the end of the one before says nothing about the message. */
function anew(state: State, effects: Effect[], now: Now, row: JournalRow): void {
  requeue(state, effects, now, { ...row, attempt: row.attempt + 1 }, { redelivery: row.redelivery + 1 });
}
