import type { Clock } from "../../base/clock.ts";

/** How long after a poke things are looked at often. */
const LIVELY_MS = 3_000;
const LIVELY_EVERY_MS = 50;

/**
 * Looks at something again and again, never twice at once: at a pace that the caller gives, at once after a poke, and
 * often for a while then, since what a poke announces is written a moment later.
 */
export class Watch {
  readonly #clock: Clock;
  readonly #look: () => Promise<void>;
  readonly #paceMs: () => number;
  #cancel: (() => void) | null = null;
  #state: "resting" | "looking" | "looking, and once more" | "over" = "resting";
  #livelyUntil = -Infinity;

  /** `look` must not reject. */
  constructor(clock: Clock, options: { look: () => Promise<void>; paceMs: () => number }) {
    this.#clock = clock;
    this.#look = options.look;
    this.#paceMs = options.paceMs;
    this.#arm();
  }

  /** Something happened. */
  poke(): void {
    if (this.#state === "over") return;
    this.#livelyUntil = this.#clock.mono() + LIVELY_MS;
    if (this.#state !== "resting") {
      this.#state = "looking, and once more";
      return;
    }
    this.#cancel?.();
    void this.#run();
  }

  /** Ends it; a look that runs already is not waited for. */
  stop(): void {
    this.#state = "over";
    this.#cancel?.();
    this.#cancel = null;
  }

  async #run(): Promise<void> {
    this.#cancel = null;
    do {
      this.#state = "looking";
      await this.#look();
    } while (this.#is("looking, and once more"));
    if (this.#is("over")) return;
    this.#state = "resting";
    this.#arm();
  }

  /** Asked anew: what was known before a wait may have changed in it. */
  #is(state: "looking, and once more" | "over"): boolean {
    return this.#state === state;
  }

  #arm(): void {
    const paceMs = this.#paceMs();
    const lively = this.#clock.mono() < this.#livelyUntil;
    this.#cancel = this.#clock.setTimer(
      lively ? Math.min(LIVELY_EVERY_MS, paceMs) : paceMs,
      () => void this.#run(),
    );
  }
}
