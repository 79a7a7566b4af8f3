import { messageOf } from "../base/errors.ts";
import type { CommandRow, JournalRow } from "../inbox/contract.ts";
import { finished } from "../inbox/core/row.ts";
import type { Effect, Event } from "./core/types.ts";
import type { RunnerPorts } from "./ports.ts";

const RETRY_BASE_MS = 5_000;
// Half of the minute that is promised for the recovery, so that it also holds for who just missed a try.
const RETRY_CAP_MS = 30_000;
/** Messages that ended between two looks for rows that need not be remembered any more. */
const PRUNE_EVERY = 1_000;

/** Effects that begin something and must therefore be on disk first. */
const NEEDS_DISK: ReadonlySet<Effect["type"]> = new Set(["claim", "deliver", "reply"]);

/**
 * Writes what a batch of steps wants to remember in one commit, before anything else of the batch happens.
 *
 * When the disk refuses, effects that begin something are withheld until a later commit succeeds, while acks,
 * stops and status go on: evidence that cannot be written is acked at once, so that the relay is the durable
 * record.
 */
export class JournalWriter {
  readonly #ports: RunnerPorts;
  readonly #post: (event: Event) => void;
  readonly #resumed: (effects: Effect[]) => void;
  #rows = new Map<string, JournalRow>();
  #commands: CommandRow[] = [];
  #resume: string | null | undefined;
  #withheld: Effect[] = [];
  #tries = 0;
  #ended = 0;
  #cancelRetry: (() => void) | null = null;

  constructor(ports: RunnerPorts, post: (event: Event) => void, resumed: (effects: Effect[]) => void) {
    this.#ports = ports;
    this.#post = post;
    this.#resumed = resumed;
  }

  /** Commits the batch's writes and returns the effects that may be performed now. */
  commit(effects: Effect[]): Effect[] {
    for (const effect of effects) {
      if (effect.type === "persist") this.#rows.set(effect.row.key, effect.row);
      else if (effect.type === "persist.command") this.#commands.push(effect.row);
      else if (effect.type === "persist.resume") this.#resume = effect.resume;
    }
    if (this.#cancelRetry === null && this.#write()) return effects;
    const now: Effect[] = [];
    for (const effect of effects) (NEEDS_DISK.has(effect.type) ? this.#withheld : now).push(effect);
    return now;
  }

  /** Stops retrying; what is unwritten is left to the relay, which still holds it unread. */
  stop(): void {
    this.#clearRetry();
    this.#write();
    this.#clearRetry();
  }

  #clearRetry(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = null;
  }

  #write(): boolean {
    if (this.#rows.size === 0 && this.#commands.length === 0 && this.#resume === undefined) return true;
    try {
      this.#ports.journal.write({
        rows: [...this.#rows.values()],
        commands: this.#commands,
        ...(this.#resume === undefined ? {} : { resume: this.#resume }),
      });
    } catch (error) {
      const reason = messageOf(error);
      this.#ports.log.error("cannot write the journal", { reason });
      const delayMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** this.#tries++);
      this.#cancelRetry = this.#ports.clock.setTimer(delayMs, () => this.#retry());
      this.#post({ type: "storage", ok: false, reason });
      return false;
    }
    for (const row of this.#rows.values()) if (finished(row)) this.#ended++;
    this.#rows = new Map();
    this.#commands = [];
    this.#resume = undefined;
    this.#prune();
    return true;
  }

  /** A runner that lives for months must not keep what it did in the first one. */
  #prune(): void {
    if (this.#ended < PRUNE_EVERY) return;
    this.#ended = 0;
    try {
      this.#ports.journal.prune(this.#ports.clock.wall());
    } catch (error) {
      this.#ports.log.warn("cannot prune the journal", { reason: messageOf(error) });
    }
  }

  #retry(): void {
    this.#cancelRetry = null;
    if (!this.#write()) return;
    this.#tries = 0;
    const effects = this.#withheld;
    this.#withheld = [];
    this.#post({ type: "storage", ok: true, reason: "" });
    this.#resumed(effects);
  }
}
