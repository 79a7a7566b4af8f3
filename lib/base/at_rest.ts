import type { Clock } from "./clock.ts";

/** When a chore is worth its while, and what it is. */
export interface ChoreOptions {
  clock: Pick<Clock, "setTimer">;
  /** Notes after which there is enough to do. */
  enough: number;
  /** How long nothing may have been noted before it is done, in milliseconds. */
  restMs: number;
  /** Must not throw: a timer calls it. */
  work(): void;
}

/** A chore that waits until there is enough to do and nobody is kept waiting: it is done once notes stop coming. */
export class ChoreAtRest {
  readonly #options: ChoreOptions;
  #notes = 0;
  #cancel: (() => void) | null = null;

  constructor(options: ChoreOptions) {
    this.#options = options;
  }

  /** There is more to do, and somebody may be waiting right now. */
  note(): void {
    const { clock, enough, restMs, work } = this.#options;
    if (++this.#notes < enough) return;
    this.#cancel?.();
    this.#cancel = clock.setTimer(restMs, () => {
      this.stop();
      work();
    });
  }

  /** Forgets what was noted. */
  stop(): void {
    this.#notes = 0;
    this.#cancel?.();
    this.#cancel = null;
  }
}
