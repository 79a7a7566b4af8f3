import { keyOf } from "../../inbox/core/row.ts";
import * as answers from "./answers.ts";
import * as claims from "./claims.ts";
import * as hang from "./hang.ts";
import * as intake from "./intake.ts";
import * as ledger from "./ledger.ts";
import * as lifecycle from "./lifecycle.ts";
import * as provider from "./provider.ts";
import * as turns from "./turns.ts";
import { abandoned } from "./goal.ts";
import { pump } from "./pump.ts";
import type { Effect, Event, Now, State } from "./types.ts";

/** The wall clock's lead over the monotonic one within a step that tells of a sleep rather than of drift. */
const SLEEP_MS = 500;

/**
 * Takes one event and returns what has to be done about it. Deterministic: state, event and `now` decide
 * everything. The state is updated in place and belongs to the caller; effects are in the order in which they
 * have to be performed, `persist` ones first of all and in one commit.
 */
export function step(state: State, event: Event, now: Now): { state: State; effects: Effect[] } {
  const effects: Effect[] = [];
  if (state.phase.phase !== "ended") {
    noticeSleep(state, now);
    apply(state, effects, event, now);
    pump(state, effects, now);
  }
  return { state, effects };
}

/**
 * Monotonic time stands still while the machine sleeps, and a lease does not: leases are older by what the wall clock
 * went ahead. A wall clock that was only set ahead makes them renewed early, which costs nothing.
 */
function noticeSleep(state: State, now: Now): void {
  const offset = now.wall - now.mono;
  const aheadMs = state.clockOffset === null ? 0 : offset - state.clockOffset;
  state.clockOffset = offset;
  if (Math.abs(aheadMs) < SLEEP_MS) return;
  if (aheadMs > 0 && state.relayClock !== null) state.relayClock.wall += aheadMs;
  for (const key of state.claiming.keys()) state.claiming.set(key, "clock moved");
  for (const lease of state.leases.values()) {
    if (aheadMs > 0) lease.sentAt -= aheadMs;
    // Set back, the wall clock may hide a sleep: the lease is good for nothing new until it is renewed.
    else lease.sentAt = Math.min(lease.sentAt, claims.doubtful(now, lease.leaseMs));
  }
}

function apply(state: State, effects: Effect[], event: Event, now: Now): void {
  switch (event.type) {
    case "start":
      state.run.startedAt = now.mono;
      for (const row of abandoned(state)) {
        ledger.move(state, effects, now, row, {
          state: "skipped",
          reason: "the run it belonged to is over",
        });
      }
      return lifecycle.answerEarlier(state, effects);
    case "bus.up":
      state.bus = "up";
      state.run.relay = "reached";
      if (event.serverTime !== undefined) state.relayClock = { wall: event.serverTime, at: now.mono };
      claims.storeIs(state, effects, now, event.storeId);
      for (const agenda of [state.acks, state.replies, state.fetches]) agenda.hasten(now.mono);
      intake.tellRecovered(state, effects, now);
      intake.resync(state, effects, 0);
      return;
    case "bus.down":
      state.bus = event.auth ? "auth" : "down";
      if (state.run.relay === "unknown") state.run.relay = "missed";
      return;
    case "offered":
      return intake.offered(state, effects, now, event.message, event.paged === true);
    case "resynced":
      return intake.resynced(state, now, event);
    case "fetched":
      return intake.fetched(state, effects, now, event.key, event.message);
    case "fetch.failed":
      return intake.fetchFailed(state, now, event.key, event.retryAfterMs);
    case "dead.listed":
      return intake.deadListed(state, effects, now, event.storeId, event.letters, event.through);
    case "dropped":
      return intake.dropped(state, effects, now, keyOf(event.storeId, event.messageId), event.generation);
    case "memory":
      if (event.pressure === "soft") return intake.shedBodies(state);
      return lifecycle.outOfMemory(state, effects, event.rssBytes);
    case "claim.won":
      if (claims.isStale(state, event)) return;
      return claims.claimWon(state, effects, now, event.key, event.sentAt, event.leaseMs);
    case "claim.lost":
      if (claims.isStale(state, event)) return;
      return claims.claimLost(state, effects, now, event.key);
    case "claim.failed":
      if (claims.isStale(state, event)) return;
      return claims.claimFailed(state, now, event.key);
    case "handed": {
      const row = ledger.rowOf(state, event.deliveryId);
      if (row) ledger.report(state, effects, now, row, "handed", "written to the provider's channel");
      return;
    }
    case "hand.failed": {
      // Some of the bytes may have arrived: only the provider's record can tell.
      const row = ledger.rowOf(state, event.deliveryId);
      if (row?.state.state !== "delivering") return;
      state.suspects.set(row.key, now.mono + state.config.settleMs);
      state.refused.set(event.deliveryId, event.reason);
      return;
    }
    case "hand.refused": {
      const row = ledger.rowOf(state, event.deliveryId);
      if (row?.state.state === "delivering") ledger.requeue(state, effects, now, row);
      return;
    }
    case "acked":
      return answers.acked(state, effects, now, event.keys);
    case "ack.failed":
      return answers.ackFailed(state, now, event.keys);
    case "replied":
      return answers.replied(state, effects, now, event.key);
    case "reply.failed":
      if (event.permanent) answers.replied(state, effects, now, event.key);
      else answers.replyFailed(state, now, event.key);
      return;
    case "spawned":
      return provider.spawned(state, now, event.incarnation);
    case "spawn.failed":
      return provider.spawnFailed(state, effects, now, event.incarnation, event.permanent, event.reason);
    case "provider":
      return provider.providerEvent(state, effects, now, event.incarnation, event.event);
    case "exited":
      return provider.exited(state, effects, now, event.incarnation, event.status);
    case "measured":
      if (provider.isCurrent(state, event.incarnation)) hang.measured(state, effects, now, event.cpuMs);
      return;
    case "probed":
      if (provider.isCurrent(state, event.incarnation)) turns.probed(state, effects, now, event.results);
      return;
    case "command":
      return lifecycle.command(state, effects, now, event.command);
    case "begin":
      return lifecycle.begin(state, effects, now, event.commandId);
    case "command.told":
      return lifecycle.told(state, effects, now, event.commandId);
    case "signal":
      return lifecycle.signal(state, effects, now, event.signal);
    case "storage":
      state.storage = event.ok ? { ok: true } : { ok: false, reason: event.reason };
      // Nothing can be begun now: another agent need not wait for work that only waits here.
      if (!event.ok) lifecycle.releaseUndone(state, effects, now);
      return;
    case "tick":
      return;
  }
}
