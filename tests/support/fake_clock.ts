import type { Clock } from "../../lib/base/clock.ts";

/** A clock that moves only when a test says so. Timers fire in order of their time. */
export class FakeClock implements Clock {
  #now = 0;
  #timers: { at: number; order: number; callback: () => void }[] = [];
  #order = 0;

  constructor(readonly wallOffset = 1_800_000_000_000) {}

  wall = () => this.wallOffset + this.#now;
  mono = () => this.#now;

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs || 0), order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves the time on; timers on the way fire, with microtasks drained after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((t) =>
        t.at <= end
      ).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await new Promise<void>((resolve) => queueMicrotask(resolve));
      await Promise.resolve();
    }
    this.#now = end;
    await Promise.resolve();
  }
}
