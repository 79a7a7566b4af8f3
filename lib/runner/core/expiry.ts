import type { JournalRow } from "../../inbox/contract.ts";
import { move, report } from "./ledger.ts";
import type { Effect, Now, State } from "./types.ts";

/**
 * True when nobody wants the message any more: its sender has been told that it expired, and may have sent it again. By the
 * relay's clock, since that is the one that told the sender. A letter that a person opened again is wanted.
 */
export function hasExpired(state: State, now: Now, { message, generation }: JournalRow): boolean {
  if (generation > 0 || message?.expiresAt === undefined) return false;
  const { relayClock } = state;
  const time = relayClock === null ? now.wall : relayClock.wall + (now.mono - relayClock.at);
  return time >= message.expiresAt;
}

/** Ends a message that was not handed over in its time. */
export function expire(state: State, effects: Effect[], now: Now, row: JournalRow): void {
  const reason = "its time to live was over before it could be handed over";
  report(
    state,
    effects,
    now,
    move(state, effects, now, row, { state: "skipped", reason }),
    "expired",
    reason,
  );
}
