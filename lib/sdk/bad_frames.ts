import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

const MINUTE_MS = 60_000;
/** More of them than this within a minute: whatever speaks there is no relay that we understand. */
const LIMIT = 20;

/** Keeps count of frames that made no sense: the first is logged, then those of a minute together. */
export class BadFrames {
  readonly #clock: Clock;
  readonly #log: Log;
  #recent: number[] = [];
  #total = 0;
  #loggedAt = -Infinity;
  #unlogged = 0;

  constructor({ clock, log }: { clock: Clock; log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** All of them so far. */
  get total(): number {
    return this.#total;
  }

  /** Takes one more; `too many` when the link is better made anew. */
  take(reason: string): "tolerable" | "too many" {
    const now = this.#clock.mono();
    this.#total++;
    this.#unlogged++;
    if (now - this.#loggedAt >= MINUTE_MS) {
      this.#log.warn("dropped a bad frame of the relay", { reason, frames: this.#unlogged });
      this.#loggedAt = now;
      this.#unlogged = 0;
    }
    this.#recent = [...this.#recent.filter((at) => now - at < MINUTE_MS), now];
    if (this.#recent.length <= LIMIT) return "tolerable";
    this.#recent = [];
    return "too many";
  }
}
