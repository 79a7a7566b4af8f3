import { clampDelay, type Clock } from "../../lib/base/clock.ts";
import type { Timeline } from "./timeline.ts";

/**
 * The machine that runner and provider live on. Its monotonic time drifts against the relay's and stands still while
 * it sleeps (as CLOCK_MONOTONIC does), and nothing on it happens then; its wall clock goes on and can be set.
 */
export class Machine {
  readonly #timeline: Timeline;
  readonly #rate: number;
  #slept = 0;
  #wallOffset = 1_800_000_000_000;
  #asleepUntil = -1;

  constructor(timeline: Timeline, rate: number) {
    this.#timeline = timeline;
    this.#rate = rate;
  }

  get asleep(): boolean {
    return this.#timeline.now < this.#asleepUntil;
  }

  get wakesAt(): number {
    return this.#asleepUntil;
  }

  mono = (): number => {
    const { now } = this.#timeline;
    const awake = now < this.#asleepUntil ? this.#asleepUntil : now;
    return 1_000 + (awake - this.#slept) * this.#rate;
  };

  wall = (): number => Math.round(this.#wallOffset + this.#timeline.now);

  /** Sets the wall clock. */
  step(ms: number): void {
    this.#wallOffset += ms;
  }

  /** Sleeps for `ms`; what is due on it meanwhile happens at the wake-up or, being a timer, that much later. */
  sleep(ms: number): void {
    if (this.asleep) return;
    this.#slept += ms;
    this.#asleepUntil = this.#timeline.now + ms;
  }

  /** Lets something of this machine happen after `delayMs` of its own time; returns how to cancel it. */
  later(delayMs: number, run: () => void): () => void {
    let cancelled = false;
    const due = this.mono() + delayMs;
    const fire = () => {
      if (cancelled) return;
      const left = due - this.mono();
      if (left > 0.001 || this.asleep) entry = this.#timeline.at(this.#trueTime(left), fire);
      else run();
    };
    let entry = this.#timeline.at(this.#trueTime(delayMs), fire);
    return () => {
      cancelled = true;
      entry.run = null;
    };
  }

  #trueTime(delayMs: number): number {
    const { now } = this.#timeline;
    return (now < this.#asleepUntil ? this.#asleepUntil : now) + Math.max(0, delayMs) / this.#rate;
  }

  /** The clock as a process sees it; nothing fires once it is gone. */
  clockOf(gone: () => boolean): Clock {
    return {
      wall: this.wall,
      mono: this.mono,
      setTimer: (delayMs, callback) =>
        this.later(clampDelay(delayMs), () => {
          if (!gone()) callback();
        }),
    };
  }
}
