import { backOff, move, report } from "./ledger.ts";
import type { Effect, Now, State } from "./types.ts";

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
