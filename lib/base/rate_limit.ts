import type { Clock } from "./clock.ts";

/** A bucket of permits that fills by the second. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #perSecond: number;
  #permits: number;
  #at: number;

  constructor(clock: Clock, { burst, perSecond }: { burst: number; perSecond: number }) {
    this.#clock = clock;
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#permits = burst;
    this.#at = clock.mono();
  }

  /** Takes a permit; false when there is none. */
  allows(): boolean {
    const now = this.#clock.mono();
    this.#permits = Math.min(this.#burst, this.#permits + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#permits < 1) return false;
    this.#permits--;
    return true;
  }
}
