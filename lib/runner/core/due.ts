import { goalDue } from "./goal.ts";
import { hangDue } from "./hang.ts";
import { lapsesAt } from "./pump.ts";
import type { State } from "./types.ts";

/**
 * Returns the monotonic time at which a `tick` is due, Infinity when only an event can change anything. The
 * shell keeps one timer for it.
 *
 * `stepped` is the time of the last step. What was due by then and was not acted on waits for something else
 * than time; ticking for it would only spin.
 */
export function nextDue(state: State, stepped: number): number {
  let due = Infinity;
  const consider = (at: number) => {
    if (at > stepped && at < due) due = at;
  };
  if (state.phase.phase === "ended") return due;
  consider(goalDue(state));
  consider(hangDue(state));
  if (state.phase.phase === "draining") consider(state.phase.deadline);
  const provider = state.provider;
  if (provider.state === "waiting") consider(provider.until);
  if (state.phase.phase === "running") consider(state.retries.next());
  if (state.fault !== null && state.flight.size === 0) consider(state.fault.retryAt);
  if (provider.state === "ready") {
    for (const at of state.interrupted.values()) consider(at);
    for (const at of state.suspects.values()) consider(at);
    if (provider.activity === "idle") {
      for (const [key, at] of state.progress) {
        if (!state.suspects.has(key)) consider(Math.max(at, provider.since) + state.config.probeAfterMs);
      }
    }
  }
  for (const lease of state.leases.values()) consider(lapsesAt(lease));
  if (state.bus === "up") {
    for (const lease of state.leases.values()) {
      if (!lease.renewing) consider(Math.max(lease.sentAt + lease.leaseMs / 3, state.claimNotBefore));
    }
    consider(state.acks.next());
    consider(state.replies.next());
    consider(state.fetches.next());
    if (
      state.intake === "behind" && state.resync === "idle" && state.rows.size <= state.config.maxQueue / 2
    ) consider(state.resyncNotBefore);
    if (state.claiming.size === 0 && Number.isFinite(state.claimNotBefore)) consider(state.claimNotBefore);
  }
  return due;
}
