import type { JournalRow } from "../../inbox/contract.ts";
import { inFlight, LOCAL_STORE } from "../../inbox/core/row.ts";
import { identityOf, move, report, requeue } from "./ledger.ts";
import type { Effect, Now, State } from "./types.ts";

/** Wait before work is claimed again that was refused and offered meanwhile. */
const RECLAIM_MS = 500;

/** How long a turn that was interrupted may take to end. */
const INTERRUPT_MS = 10_000;

/** The relay serves this store; leases of another one mean nothing any more. */
export function storeIs(state: State, effects: Effect[], now: Now, storeId: string): void {
  if (state.storeId === storeId) return;
  state.storeId = storeId;
  for (const key of [...state.leases.keys(), ...state.claiming.keys()]) {
    const row = state.rows.get(key);
    if (row !== undefined && !isForeign(state, row)) continue;
    state.leases.delete(key);
    state.claiming.delete(key);
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

/** The age of a lease that nobody can be sure of: good for nothing new until it is renewed, but to be renewed at once. */
export function doubtful(now: Now, leaseMs: number): number {
  return now.mono - 0.85 * leaseMs;
}

/** True for the late answer to a renewal of a lease that was given back before the same work was claimed again. */
export function isStale(state: State, event: { key: string; renewal?: boolean }): boolean {
  return event.renewal === true && state.claiming.has(event.key);
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
  const how = state.claiming.get(key);
  const asked = state.claiming.delete(key);
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
  const since = how === "clock moved" ? Math.min(sentAt, doubtful(now, leaseMs)) : sentAt;
  state.leases.set(key, { sentAt: since, leaseMs, renewing: false });
  if (row.state.state === "received") {
    const claimed = move(state, effects, now, row, { state: "claimed" });
    if (!had) report(state, effects, now, claimed, "claimed", `lease of ${leaseMs} ms`);
  }
}

/** Another agent holds the message: nothing of it is delivered; work that runs already is stopped. */
export function claimLost(state: State, effects: Effect[], now: Now, key: string): void {
  const offeredAgain = state.claiming.get(key) === "offered again";
  state.claiming.delete(key);
  state.leases.delete(key);
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
  const reason = "the claim was lost";
  const handed = row.handed === true || inFlight(row.state);
  const skipped = move(state, effects, now, row, { state: "skipped", reason }, { handed });
  report(state, effects, now, skipped, "skipped", reason);
}

/**
 * Deliveries that a provider may still hold and that must not run: work whose lease is not ours any more, and work that
 * was taken away while a provider had it.
 */
export function unwanted(state: State): string[] {
  const ids: string[] = [];
  for (const key of state.claimed) {
    const row = state.rows.get(key);
    if (row !== undefined && inFlight(row.state) && !state.leases.has(key)) ids.push(row.state.deliveryId);
  }
  for (const left of state.skipped.values()) if (left.handed) ids.push(identityOf(state, left));
  return ids;
}

/** The outcome of a claim is unknown or the relay cannot be reached: try again later. */
export function claimFailed(state: State, now: Now, key: string): void {
  state.claiming.delete(key);
  const lease = state.leases.get(key);
  if (lease) lease.renewing = false;
  state.claimNotBefore = Math.max(state.claimNotBefore, now.mono + 500 + now.random * 1_500);
}
