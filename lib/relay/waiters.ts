import type { Clock } from "../base/clock.ts";
import { RunnerError } from "../base/errors.ts";

/** Long polls of one message or command at a time. */
const WAITERS = 256;

/** Callers that wait for a change of one thing, by its key: `message/<id>` or `command/<id>`. */
export class Waiters {
  readonly #clock: Clock;
  readonly #byKey = new Map<string, Set<() => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when somebody wakes the key, or when the time is up. Throws `E_RATE` beyond 256 callers of one key. */
  change(key: string, waitMs: number): Promise<void> {
    const waiting = this.#byKey.get(key) ?? new Set();
    if (waiting.size >= WAITERS) throw new RunnerError("E_RATE", "too many callers wait for this");
    this.#byKey.set(key, waiting);
    return new Promise<void>((resolve) => {
      const finish = () => {
        cancel();
        waiting.delete(finish);
        if (waiting.size === 0) this.#byKey.delete(key);
        resolve();
      };
      const cancel = this.#clock.setTimer(waitMs, finish);
      waiting.add(finish);
    });
  }

  /** Resolves every wait for this key now. */
  wake(key: string): void {
    for (const finish of [...this.#byKey.get(key) ?? []]) finish();
  }

  /** Resolves every wait now: the relay stops. */
  wakeAll(): void {
    for (const key of [...this.#byKey.keys()]) this.wake(key);
  }
}
