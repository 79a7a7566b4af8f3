import type { JournalRow } from "../../inbox/contract.ts";
import { inFlight, LOCAL_STORE } from "../../inbox/core/row.ts";
import { doneUntold, goalEnd, mayDeliver } from "./goal.ts";
import { expire, hasExpired } from "./expiry.ts";
import { watchAgent } from "./hang.ts";
import { resync } from "./intake.ts";
import { advanceEnd, drain } from "./lifecycle.ts";
import { forgetOwed, isForeign } from "./claims.ts";
import { identityOf, move, report, requeue } from "./ledger.ts";
import { releaseHeld, spawn } from "./provider.ts";
import { sameVerdict, statusOf, verdictOf } from "./status.ts";
import type { Effect, Lease, Now, State } from "./types.ts";
import { first, leastFailed } from "./waiting.ts";

/**
 * Decides, after every event, what is due now. All intent is derived from the state, so a burst of events leads
 * to the one right next action and nothing depends on which event came last.
 */
export function pump(state: State, effects: Effect[], now: Now): void {
  if (state.phase.phase === "ended") return;
  const end = state.phase.phase === "running" ? goalEnd(state, now) : null;
  if (end !== null) {
    if (doneUntold(state)) {
      const message = "the work is done but the relay does not know of it, and may offer it again";
      effects.push({ type: "log", level: "warn", message });
    }
    drain(state, effects, now, { then: "exit", ...end });
  }
  advanceEnd(state, effects, now);
  if (state.phase.phase === "running") {
    supervise(state, effects, now);
    watchAgent(state, effects, now);
    renewLeases(state, effects, now);
    retryDue(state, effects, now);
    probeSuspects(state, effects, now);
    deliverNext(state, effects, now);
    forgetFault(state, now);
  } else if (state.phase.phase === "draining") {
    renewLeases(state, effects, now);
  }
  if (state.bus === "up") sendDue(state, effects, now);
  publish(state, effects);
}

function supervise(state: State, effects: Effect[], now: Now): void {
  if (state.provider.state === "none") spawn(state, effects);
  else if (state.provider.state === "waiting" && now.mono >= state.provider.until) spawn(state, effects);
}

/** How long before its end a lease counts as lapsed: an interrupt takes time. */
const LAPSE_MARGIN_MS = 2_000;

/** Monotonic time at which a lease may not be relied on any more. */
export function lapsesAt(lease: Lease): number {
  return lease.sentAt + lease.leaseMs - Math.min(LAPSE_MARGIN_MS, lease.leaseMs / 5);
}

/** The part of a lease that must be left before a delivery may start. */
function usable(lease: Lease, now: Now): boolean {
  return lease.sentAt + lease.leaseMs - now.mono >= Math.max(5_000, lease.leaseMs * 0.2);
}

function renewLeases(state: State, effects: Effect[], now: Now): void {
  for (const [key, lease] of state.leases) {
    if (now.mono >= lapsesAt(lease)) lapse(state, effects, now, key);
  }
  if (state.bus !== "up") return;
  for (const [key, lease] of state.leases) {
    if (lease.renewing || now.mono < lease.sentAt + lease.leaseMs / 3 || now.mono < state.claimNotBefore) {
      continue;
    }
    const row = state.rows.get(key);
    if (!row) {
      state.leases.delete(key);
      continue;
    }
    lease.renewing = true;
    effects.push({ type: "renew", key, messageId: row.messageId });
  }
}

/**
 * A lease ran out without being renewed: from now on another agent may have the work, so it is stopped here before it
 * can be done twice. It is claimed anew when the relay can be asked.
 */
function lapse(state: State, effects: Effect[], now: Now, key: string): void {
  state.leases.delete(key);
  const row = state.rows.get(key);
  if (row === undefined) return;
  if (row.state.state === "claimed") requeue(state, effects, now, row);
  if (!inFlight(row.state)) return;
  state.lapsed.add(row.state.deliveryId);
  report(state, effects, now, row, "retry", "the lease ran out, the work is stopped");
  if (state.provider.state === "ready") effects.push({ type: "interrupt" });
}

function retryDue(state: State, effects: Effect[], now: Now): void {
  for (const key of state.retries.take(now.mono)) {
    state.retries.delete(key);
    const row = state.rows.get(key);
    if (row) requeue(state, effects, now, row);
  }
  if (state.fault === null || now.mono >= state.fault.retryAt) releaseHeld(state, effects, now);
}

function probeSuspects(state: State, effects: Effect[], now: Now): void {
  const provider = state.provider;
  if (provider.state !== "ready") return;
  if (provider.activity === "idle") {
    for (const [key, progress] of state.progress) {
      const since = Math.max(progress, provider.since);
      // The same sum as in nextDue: a difference would round otherwise, and the tick would come for nothing.
      if (now.mono >= since + state.config.probeAfterMs && !state.suspects.has(key)) {
        state.suspects.set(key, now.mono);
      }
    }
  }
  const deliveryIds: string[] = [];
  for (const [key, due] of state.suspects) {
    const row = state.rows.get(key);
    if (!row || !("deliveryId" in row.state)) {
      state.suspects.delete(key);
    } else if (now.mono >= due) {
      state.suspects.set(key, Infinity);
      deliveryIds.push(row.state.deliveryId);
    }
  }
  if (deliveryIds.length > 0) {
    effects.push({ type: "probe", incarnation: provider.incarnation, deliveryIds });
  }
}

/** Places of the window that are taken. */
function occupied(state: State): number {
  return state.flight.size + state.interrupted.size;
}

function deliverNext(state: State, effects: Effect[], now: Now): void {
  const provider = state.provider;
  if (provider.state !== "ready" || !state.storage.ok) return;
  for (const [deliveryId, until] of state.interrupted) {
    if (now.mono >= until) state.interrupted.delete(deliveryId);
  }
  // With a fault, one message at a time tries whether it is mended.
  const trial = state.fault !== null;
  if (trial) {
    if (occupied(state) > 0) return;
    // A trial that ended in another way than by this fault says nothing about it: the next one comes later.
    if (state.fault!.retryAt === Infinity) state.fault!.retryAt = now.mono + 60_000;
    if (now.mono < state.fault!.retryAt) return;
  }
  const window = trial ? 1 : state.config.window;
  let holdsClaim = state.claiming.size > 0;
  // A lease runs, so claimed work goes first.
  for (const [key, lease] of state.leases) {
    const row = state.rows.get(key);
    if (row?.state.state !== "claimed" || !mayDeliver(state, row)) continue;
    holdsClaim = true;
    if (occupied(state) >= window || !usable(lease, now)) continue;
    if (trial && row.failures > (leastFailed(state, state.mail)?.failures ?? Infinity)) continue;
    if (row.shed) wantBody(state, now, row);
    else deliver(state, effects, now, row, provider.incarnation);
  }
  while (occupied(state) < window) {
    const row = trial ? leastFailed(state, state.mail) : first(state, state.mail);
    if (row === undefined) break;
    if (hasExpired(state, now, row)) {
      expire(state, effects, now, row);
      continue;
    }
    if (row.shed) {
      wantBody(state, now, row);
      // Nothing overtakes it. The texts behind it are fetched along, as many as could be delivered at once.
      for (const { key } of state.mail.slice(0, window - occupied(state))) {
        wantBody(state, now, state.rows.get(key));
      }
      break;
    }
    // Its entry is passed over from now on, since it does not wait any more.
    deliver(state, effects, now, row, provider.incarnation);
  }
  if (state.flight.size > 0 && trial) state.fault!.retryAt = Infinity;
  // Claims only when idle with nothing undelivered, one at a time: a claim kept waiting starves other agents.
  if (holdsClaim || occupied(state) > 0 || provider.activity !== "idle") return;
  if (state.bus !== "up" || now.mono < state.claimNotBefore) return;
  if (first(state, state.mail) !== undefined) return;
  let claimable = first(state, state.work);
  while (claimable !== undefined && isForeign(state, claimable)) {
    // It cannot be claimed any more; the store that has it offers it again if it comes back.
    move(state, effects, now, claimable, { state: "skipped", reason: "the relay has a new store" });
    claimable = first(state, state.work);
  }
  if (claimable === undefined) return;
  state.claiming.set(claimable.key, "asked");
  effects.push({ type: "claim", key: claimable.key, messageId: claimable.messageId });
}

/** With nothing to try it on, a fault would last for ever, and who is not ready gets nothing to try it on. */
function forgetFault(state: State, now: Now): void {
  const { fault } = state;
  if (fault?.shownBy === "turn" && now.mono >= fault.retryAt && state.rows.size === 0) state.fault = null;
}

function wantBody(state: State, now: Now, row: JournalRow | undefined): void {
  if (row?.shed && !state.fetches.has(row.key)) state.fetches.set(row.key, now.mono);
}

function deliver(state: State, effects: Effect[], now: Now, row: JournalRow, incarnation: number): void {
  const message = row.message!;
  const deliveryId = identityOf(state, row);
  if (row.handed === true) {
    move(state, effects, now, row, { state: "delivering", deliveryId, incarnation }, { handed: false });
    state.suspects.set(row.key, now.mono + 1);
    return;
  }
  move(state, effects, now, row, { state: "delivering", deliveryId, incarnation });
  effects.push({
    type: "deliver",
    key: row.key,
    incarnation,
    deliveryId,
    redelivery: row.redelivery,
    message,
  });
}

function sendDue(state: State, effects: Effect[], now: Now): void {
  for (const key of state.acks.take(now.mono)) {
    const row = state.rows.get(key);
    if (!row || row.storeId === LOCAL_STORE) continue;
    if (isForeign(state, row)) {
      forgetOwed(state, effects, now, row);
      continue;
    }
    effects.push({ type: "ack", key, messageId: row.messageId });
  }
  for (const key of state.replies.take(now.mono)) {
    const row = state.rows.get(key);
    if (!row || row.reply === null || row.message === null || !("deliveryId" in row.state)) continue;
    if (isForeign(state, row)) {
      forgetOwed(state, effects, now, row);
      continue;
    }
    const { deliveryId } = row.state;
    effects.push({ type: "reply", key, message: row.message, deliveryId, text: row.reply });
  }
  for (const key of state.fetches.take(now.mono)) {
    const row = state.rows.get(key);
    if (row?.shed) effects.push({ type: "fetch", key, messageId: row.messageId });
    else state.fetches.delete(key);
  }
  if (
    state.intake === "behind" && state.resync === "idle" && now.mono >= state.resyncNotBefore &&
    state.rows.size <= state.config.maxQueue / 2 && state.phase.phase === "running"
  ) {
    resync(state, effects, state.leftFrom - 1);
  }
  // Work of an earlier run that may still be under way needs its lease back.
  for (const key of state.claimed) {
    const row = state.rows.get(key);
    if (!row || isForeign(state, row) || state.leases.has(key) || state.claiming.has(key)) continue;
    if (now.mono < state.claimNotBefore) continue;
    state.claiming.set(key, "asked");
    effects.push({ type: "claim", key, messageId: row.messageId });
  }
}

function publish(state: State, effects: Effect[]): void {
  // The queue length is for display; it alone is no reason to speak.
  const verdict = verdictOf(state);
  if (state.published !== null && sameVerdict(verdict, state.published)) return;
  state.published = verdict;
  effects.push({ type: "publish", status: statusOf(state, verdict) });
}
