import type { Clock } from "../base/clock.ts";

/** With the 5 s that a peer has to answer, a dead link is noticed within 10 s of a wake. */
const CHECK_MS = 4_000;
/** What a clock that is adjusted may go ahead in that time. */
const AHEAD_MS = 5_000;

/**
 * Calls back when the machine has slept: the monotonic clock and all timers stood still meanwhile, the wall clock did not. A
 * wall clock that is set ahead looks the same. Returns how to end the watch, which may be called twice.
 */
export function watchWake(clock: Clock, woke: () => void): () => void {
  let ahead = clock.wall() - clock.mono();
  let cancel = () => {};
  const arm = () => {
    cancel = clock.setTimer(CHECK_MS, () => {
      arm();
      const before = ahead;
      ahead = clock.wall() - clock.mono();
      if (ahead - before > AHEAD_MS) woke();
    });
  };
  arm();
  return () => cancel();
}
