import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";

/** Steps that take back what was begun, for a start that fails and for the end of a run alike. */
export class Undo {
  readonly #log: Log;
  #steps: (() => void | Promise<void>)[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** Adds the step that takes back what was begun just now. */
  add(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  /** Takes everything back, the newest first; a step that fails is logged and keeps no other from its turn. */
  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        this.#log.warn("clean-up step failed", { error: messageOf(error) });
      }
    }
  }
}
