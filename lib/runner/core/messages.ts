import type { JournalRow, MessageState } from "../../inbox/contract.ts";
import { bodyBytes, finished, inFlight, LOCAL_STORE, mayAck } from "../../inbox/core/row.ts";
import type { SideStage, Stage } from "../../protocol/message.ts";
import type { FailureClass, ProbeResult } from "../../providers/contract.ts";
import { moved } from "./goal.ts";
import { KNOWN_LIMIT } from "./state.ts";
import { isTask } from "./status.ts";
import type { Effect, Fault, Now, State } from "./types.ts";
import { enqueue } from "./waiting.ts";

/** First back-off after a failed turn; doubles up to {@linkcode RETRY_CAP_MS}. */
const RETRY_BASE_MS = 1_000;
const RETRY_CAP_MS = 60_000;
/** Times the provider's record is asked before an unreadable one counts as empty. */
const UNREADABLE_TRIES = 3;
/** Wait before work is claimed again that was refused and offered meanwhile. */
const RECLAIM_MS = 500;
/** How long a turn that was interrupted may take to end. */
const INTERRUPT_MS = 10_000;
/** Lost claims whose attempt is remembered. */
const SKIPPED_LIMIT = 1_000;

/** Writes a row's new state to memory, journal and receipt. */
export function move(
  state: State,
  effects: Effect[],
  now: Now,
  row: JournalRow,
  next: MessageState,
  change: Partial<
    Pick<JournalRow, "attempt" | "generation" | "redelivery" | "handed" | "failures" | "acked" | "reply">
  > = {},
  lazy = false,
): JournalRow {
  const updated: JournalRow = { ...row, ...change, state: next, updatedAt: now.wall };
  moved(state, now, row, next);
  if (inFlight(row.state) && !inFlight(next)) {
    state.flight.delete(row.key);
    state.claimed.delete(row.key);
    state.tasks.delete(row.key);
    state.byDelivery.delete(row.state.deliveryId);
    state.suspects.delete(row.key);
    state.progress.delete(row.key);
    state.tries.delete(`probe ${row.key}`);
  }
  if (inFlight(next)) {
    state.flight.add(row.key);
    if (updated.message?.claimable) state.claimed.add(row.key);
    if (isTask(updated)) state.tasks.add(row.key);
    state.byDelivery.set(next.deliveryId, row.key);
    state.progress.set(row.key, now.mono);
  }
  if (next.state === "retry") state.retries.set(row.key, now.mono + Math.max(0, next.notBefore - now.wall));
  else state.retries.delete(row.key);
  if (next.state === "held") state.held.add(row.key);
  else state.held.delete(row.key);
  if (mayAck(updated) && !updated.acked && !state.acks.has(row.key)) state.acks.set(row.key, now.mono);
  if (updated.reply !== null && !state.replies.has(row.key)) state.replies.set(row.key, now.mono);
  effects.push({ type: "persist", row: updated, ...(lazy ? { lazy } : {}) });
  if (finished(updated)) {
    settle(state, updated);
  } else {
    state.rows.set(row.key, updated);
    if (next.state === "received" && row.state.state !== "received") enqueue(state, updated);
  }
  return updated;
}

function settle(state: State, row: JournalRow): void {
  if (state.rows.delete(row.key) && row.message !== null) state.bodyBytes -= bodyBytes(row.message);
  for (
    const [name, agenda] of [["ack", state.acks], ["reply", state.replies], ["fetch", state.fetches]] as const
  ) {
    agenda.delete(row.key);
    state.tries.delete(`${name} ${row.key}`);
  }
  state.leases.delete(row.key);
  state.claiming.delete(row.key);
  state.reoffered.delete(row.key);
  if (row.state.state === "skipped") {
    // Not remembered as known: when the agent that won dies, the relay offers the message again, and it must
    // be taken then. Only the attempt is kept, since an identity that the provider has seen never runs again.
    const { attempt, redelivery, handed = false } = row;
    state.skipped.set(row.key, { attempt, redelivery, handed });
    trim(state.skipped, SKIPPED_LIMIT);
    return;
  }
  if (row.state.state === "dead") {
    state.dead.set(row.key, { ...row, message: null });
    state.untold.add(row.key);
    trim(state.dead, KNOWN_LIMIT);
    trim(state.untold, KNOWN_LIMIT);
  } else {
    state.dead.delete(row.key);
    state.untold.delete(row.key);
  }
  if (row.state.state === "dropped") {
    state.gone.set(row.key, row);
    trim(state.gone, SKIPPED_LIMIT);
  }
  state.known.add(row.key);
  trim(state.known, KNOWN_LIMIT);
}

/** Forgets the oldest entry of a memory that is over its bound. */
export function trim(memory: Map<string, unknown> | Set<string>, limit: number): void {
  if (memory.size <= limit) return;
  const oldest = memory.keys().next().value;
  if (oldest !== undefined) memory.delete(oldest);
}

/** Adds a line to the message's receipt at the relay. */
export function report(
  state: State,
  effects: Effect[],
  now: Now,
  row: JournalRow,
  stage: Stage | SideStage,
  evidence?: string,
  at: number = now.wall,
): void {
  effects.push({
    type: "report",
    storeId: row.storeId,
    report: {
      messageId: row.messageId,
      agentId: state.config.agentId,
      stage,
      at,
      attempt: row.attempt,
      ...(row.generation === 0 ? {} : { generation: row.generation }),
      ...("deliveryId" in row.state ? { deliveryId: row.state.deliveryId } : {}),
      ...(evidence === undefined ? {} : { evidence }),
    },
  });
}

/** The relay serves this store; leases of another one mean nothing any more. */
export function storeIs(state: State, effects: Effect[], now: Now, storeId: string): void {
  if (state.storeId === storeId) return;
  state.storeId = storeId;
  for (const key of [...state.leases.keys(), ...state.claiming]) {
    const row = state.rows.get(key);
    if (row !== undefined && !isForeign(state, row)) continue;
    state.leases.delete(key);
    state.claiming.delete(key);
    state.reoffered.delete(key);
    if (row?.state.state === "claimed") requeue(state, effects, now, row);
  }
}

/**
 * True when the message is of a store that the relay does not serve (any more): its id must never be named to this
 * relay, which has another message under it.
 */
export function isForeign(state: State, row: JournalRow): boolean {
  return row.storeId !== LOCAL_STORE && state.storeId !== null && row.storeId !== state.storeId;
}

/**
 * Closes what is owed to a store that is gone: nobody waits for the ack or the answer. When that store comes back and
 * offers the message again, it is acked then.
 */
export function forgetOwed(state: State, effects: Effect[], now: Now, row: JournalRow): void {
  for (const [name, agenda] of [["ack", state.acks], ["reply", state.replies]] as const) {
    agenda.delete(row.key);
    state.tries.delete(`${name} ${row.key}`);
  }
  move(state, effects, now, row, row.state, { acked: true, reply: null });
}

/** The relay granted or prolonged a lease. */
export function claimWon(
  state: State,
  effects: Effect[],
  now: Now,
  key: string,
  sentAt: number,
  leaseMs: number,
): void {
  const asked = state.claiming.delete(key);
  state.reoffered.delete(key);
  const had = state.leases.has(key);
  // The answer to a renewal of a lease that was given back meanwhile: the relay has freed it by now.
  if (!asked && !had) return;
  const row = state.rows.get(key);
  if (!row || isForeign(state, row)) return;
  if (state.phase.phase !== "running" && row.state.state === "received") {
    // Asked for before the end began: another agent need not wait for the lease to lapse.
    effects.push({ type: "release", messageId: row.messageId });
    return;
  }
  state.leases.set(key, { sentAt, leaseMs, renewing: false });
  if (row.state.state === "received") {
    const claimed = move(state, effects, now, row, { state: "claimed" });
    if (!had) report(state, effects, now, claimed, "claimed", `lease of ${leaseMs} ms`);
  }
}

/** Another agent holds the message: nothing of it is delivered; work that runs already is stopped. */
export function claimLost(state: State, effects: Effect[], now: Now, key: string, holder?: string): void {
  state.claiming.delete(key);
  state.leases.delete(key);
  const offeredAgain = state.reoffered.delete(key);
  const row = state.rows.get(key);
  if (!row || row.state.state === "done") return;
  if (offeredAgain && row.state.state === "received") {
    // Whoever held it has let it go since.
    state.claimNotBefore = Math.max(state.claimNotBefore, now.mono + RECLAIM_MS);
    return;
  }
  if (inFlight(row.state) && state.provider.state === "ready") {
    effects.push({ type: "interrupt" });
    state.interrupted.set(row.state.deliveryId, now.mono + INTERRUPT_MS);
  }
  const reason = holder === undefined ? "the claim was lost" : `claimed by ${holder}`;
  const handed = row.handed === true || inFlight(row.state);
  const skipped = move(state, effects, now, row, { state: "skipped", reason }, { handed });
  report(state, effects, now, skipped, "skipped", reason);
}

/** The outcome of a claim is unknown or the relay cannot be reached: try again later. */
export function claimFailed(state: State, now: Now, key: string): void {
  state.claiming.delete(key);
  state.reoffered.delete(key);
  const lease = state.leases.get(key);
  if (lease) lease.renewing = false;
  state.claimNotBefore = Math.max(state.claimNotBefore, now.mono + 500 + now.random * 1_500);
}

/** Returns the unfinished row of a delivery, or undefined for foreign and late ones. */
export function rowOf(state: State, deliveryId: string): JournalRow | undefined {
  const key = state.byDelivery.get(deliveryId);
  return key === undefined ? undefined : state.rows.get(key);
}

/** Proof arrived. Evidence of an attempt that is over is ignored. */
export function evidence(
  state: State,
  effects: Effect[],
  now: Now,
  deliveryId: string,
  stage: "placed" | "seen",
  proof: string,
): void {
  const row = rowOf(state, deliveryId);
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
  const row = rowOf(state, deliveryId);
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
  const row = rowOf(state, deliveryId);
  if (!row || !inFlight(row.state)) return;
  const direct = row.message === null || !row.message.claimable;
  if (row.state.state === "seen" && direct) {
    const ended = move(state, effects, now, row, { state: "failed", deliveryId, reason });
    report(state, effects, now, ended, "failed", reason);
    return;
  }
  const change = { attempt: row.attempt + 1, redelivery: row.redelivery + 1 };
  if (failure === "cancelled" && !direct && !state.leases.has(row.key)) {
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
    return;
  }
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
    message: "message is a dead letter",
    fields: { messageId: row.messageId, reason },
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
        } else {
          // The attempt stays: it was never proven to have failed, so its identity must not change.
          requeue(state, effects, now, row, { redelivery: row.redelivery + 1 });
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

/** Puts a message back in line for delivery; claimed when its lease still stands. */
export function requeue(
  state: State,
  effects: Effect[],
  now: Now,
  row: JournalRow,
  change: Partial<Pick<JournalRow, "redelivery">> = {},
): void {
  const next = state.leases.has(row.key) ? "claimed" : "received";
  move(state, effects, now, row, { state: next }, change);
}

/** markRead was answered with 2xx for these messages. */
export function acked(state: State, effects: Effect[], now: Now, keys: string[]): void {
  for (const key of keys) {
    state.acks.delete(key);
    state.tries.delete(`ack ${key}`);
    const row = state.rows.get(key);
    if (!row || row.acked) continue;
    // Lost with a crash, it costs one more markRead, which the relay answers as it did.
    const updated = move(state, effects, now, row, row.state, { acked: true }, true);
    state.leases.delete(key);
    report(state, effects, now, updated, "acked", "markRead answered");
  }
}

/** markRead did not succeed: tried again with back-off, for ever. */
export function ackFailed(state: State, now: Now, keys: string[]): void {
  for (const key of keys) backOff(state, "ack", key, now);
}

/** The reply reached the relay, or never will. */
export function replied(state: State, effects: Effect[], now: Now, key: string): void {
  state.replies.delete(key);
  state.tries.delete(`reply ${key}`);
  const row = state.rows.get(key);
  if (row) move(state, effects, now, row, row.state, { reply: null });
}

/** The reply could not be sent now: tried again with back-off. */
export function replyFailed(state: State, now: Now, key: string): void {
  backOff(state, "reply", key, now);
}

const AGENDAS = { ack: "acks", reply: "replies", fetch: "fetches" } as const;

/** Puts off what failed, the longer the more often it has. */
export function backOff(state: State, what: keyof typeof AGENDAS, key: string, now: Now): void {
  const agenda = state[AGENDAS[what]];
  if (!agenda.has(key)) return;
  const tries = (state.tries.get(`${what} ${key}`) ?? 0) + 1;
  state.tries.set(`${what} ${key}`, tries);
  agenda.set(key, now.mono + now.random * Math.min(30_000, 500 * 2 ** tries) + 100);
}
