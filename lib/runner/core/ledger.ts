import { deliveryIdOf } from "../../base/uuid.ts";
import type { JournalRow, MessageState } from "../../inbox/contract.ts";
import { bodyBytes, finished, inFlight, mayAck } from "../../inbox/core/row.ts";
import type { SideStage, Stage } from "../../protocol/message.ts";
import { moved } from "./goal.ts";
import { KNOWN_LIMIT } from "./state.ts";
import { isTask } from "./status.ts";
import type { Effect, Now, State } from "./types.ts";
import { enqueue } from "./waiting.ts";

/** Lost claims whose attempt is remembered. */
const SKIPPED_LIMIT = 1_000;
/** Deliveries put back in line that may be begun after all. */
const PUT_BACK_LIMIT = 1_000;

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
    state.lapsed.delete(row.state.deliveryId);
    state.refused.delete(row.state.deliveryId);
  }
  if (inFlight(next)) {
    state.flight.add(row.key);
    if (updated.message?.claimable) state.claimed.add(row.key);
    if (isTask(updated)) state.tasks.add(row.key);
    state.byDelivery.set(next.deliveryId, row.key);
    state.putBack.delete(next.deliveryId);
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
  state.traceless.delete(row.key);
  if (row.state.state === "skipped") {
    // Not remembered as known: when the agent that won dies, the relay offers the message again, and it must
    // be taken then. Only the attempt is kept, since an identity that the provider has seen never runs again.
    const { storeId, messageId, attempt, generation, redelivery, handed = false } = row;
    state.skipped.set(row.key, { storeId, messageId, attempt, generation, redelivery, handed });
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

/**
 * Forgets the oldest entries of a memory that is over its bound by a sixteenth, all at once: who looks for the first
 * entry passes over those that were removed before it.
 */
export function trim(memory: Map<string, unknown> | Set<string>, limit: number): void {
  if (memory.size <= limit + (limit >> 4)) return;
  for (const oldest of memory.keys()) {
    memory.delete(oldest);
    if (memory.size <= limit) return;
  }
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

/** Returns the unfinished row of a delivery, or undefined for foreign and late ones. */
export function rowOf(state: State, deliveryId: string): JournalRow | undefined {
  const key = state.byDelivery.get(deliveryId);
  return key === undefined ? undefined : state.rows.get(key);
}

/** The identity of a row's present attempt: the same whenever it is handed over again. */
export function identityOf(
  state: State,
  row: Pick<JournalRow, "storeId" | "messageId" | "attempt" | "generation">,
): string {
  return deliveryIdOf(row.storeId, state.config.agentId, row.messageId, row.attempt, row.generation);
}

/**
 * Returns the row that something the provider tells belongs to: one in flight, or one that was put back in line because
 * the provider's record did not have it yet, and that the provider has begun after all. That one is in flight again.
 */
export function takeUp(
  state: State,
  effects: Effect[],
  now: Now,
  deliveryId: string,
): JournalRow | undefined {
  const row = rowOf(state, deliveryId);
  if (row !== undefined) return row;
  const key = state.putBack.get(deliveryId);
  const waiting = key === undefined ? undefined : state.rows.get(key);
  if (waiting?.state.state !== "received" && waiting?.state.state !== "claimed") return undefined;
  if (identityOf(state, waiting) !== deliveryId) return undefined;
  const { incarnation } = state;
  return move(state, effects, now, waiting, { state: "delivering", deliveryId, incarnation });
}

/**
 * Puts a message back in line whose delivery the provider's record does not have. The attempt stays: it was never proven
 * to have failed, so its identity must not change.
 */
export function putBack(
  state: State,
  effects: Effect[],
  now: Now,
  row: JournalRow,
  deliveryId: string,
): void {
  requeue(state, effects, now, row, { redelivery: row.redelivery + 1 });
  state.putBack.set(deliveryId, row.key);
  trim(state.putBack, PUT_BACK_LIMIT);
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

const AGENDAS = { ack: "acks", reply: "replies", fetch: "fetches" } as const;

/** Puts off what failed, the longer the more often it has. */
export function backOff(
  state: State,
  what: keyof typeof AGENDAS,
  key: string,
  now: Now,
  atLeastMs = 0,
): void {
  const agenda = state[AGENDAS[what]];
  if (!agenda.has(key)) return;
  const tries = (state.tries.get(`${what} ${key}`) ?? 0) + 1;
  state.tries.set(`${what} ${key}`, tries);
  const waitMs = now.random * Math.min(30_000, 500 * 2 ** tries) + 100;
  agenda.set(key, now.mono + Math.max(atLeastMs, waitMs));
}
