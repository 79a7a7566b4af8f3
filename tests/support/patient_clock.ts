import type { Clock } from "../../lib/base/clock.ts";

const TICK_MS = 2;
/** Real time that one tick can count at most: a machine that is busy elsewhere slows this clock down. */
const TICK_CAP_MS = 8;

/**
 * A clock that runs `factor` times as fast as the real one, for real sockets with long deadlines, and waits for a process
 * that does not get its turn: what would be a timeout on a loaded machine is none here.
 */
export class PatientClock implements Clock {
  #now = 0;
  #last = performance.now();
  #order = 0;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();
  readonly #ticker: ReturnType<typeof setInterval>;

  constructor(readonly factor: number) {
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  wall = () => 1_800_000_000_000 + this.#now;
  mono = () => this.#now;

  setTimer = (delayMs: number, callback: () => void): () => void => {
    const id = this.#order++;
    this.#timers.set(id, { at: this.#now + Math.max(0, delayMs || 0), callback });
    return () => void this.#timers.delete(id);
  };

  #tick(): void {
    const real = performance.now();
    this.#now += Math.min(TICK_CAP_MS, real - this.#last) * this.factor;
    this.#last = real;
    for (const [id, timer] of [...this.#timers]) {
      if (timer.at > this.#now || !this.#timers.delete(id)) continue;
      timer.callback();
    }
  }

  stop(): void {
    clearInterval(this.#ticker);
  }
}
