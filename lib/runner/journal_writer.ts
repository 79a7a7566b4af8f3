import { messageOf, RunnerError } from "../base/errors.ts";
import type { CommandRow, JournalRow } from "../inbox/contract.ts";
import { finished } from "../inbox/core/row.ts";
import type { Effect, Event } from "./core/types.ts";
import type { RunnerPorts } from "./ports.ts";

const RETRY_BASE_MS = 5_000;
// Half of the minute that is promised for the recovery, so that it also holds for who just missed a try.
const RETRY_CAP_MS = 30_000;
/** Messages that ended between two looks for rows that need not be remembered any more. */
const PRUNE_EVERY = 1_000;
/** Longest wait of what may wait for the next commit. */
const LAZY_MS = 100;

/**
 * Writes what a batch of steps wants to remember in one commit, before anything else of the batch happens.
 *
 * When the disk refuses, what begins something is refused too, and the core hears of it as of any other failure:
 * kept back and done later it would rest on a lease or a process that is no more. Acks, stops and status go on:
 * evidence that cannot be written is acked at once, so that the relay is the durable record.
 */
export class JournalWriter {
  readonly #ports: RunnerPorts;
  readonly #post: (event: Event) => void;
  #rows = new Map<string, JournalRow>();
  #commands: CommandRow[] = [];
  #resume: string | null | undefined;
  #incarnation: number | undefined;
  /** Commands that begin as soon as their ids are on disk. */
  #begins: string[] = [];
  #tries = 0;
  #ended = 0;
  #cancelRetry: (() => void) | null = null;
  #cancelLazy: (() => void) | null = null;

  /** Every row that is open, for a journal that was begun anew. */
  readonly #open: () => Iterable<JournalRow>;

  constructor(ports: RunnerPorts, post: (event: Event) => void, open: () => Iterable<JournalRow>) {
    this.#ports = ports;
    this.#post = post;
    this.#open = open;
  }

  /** Commits the batch's writes and returns the effects that may be performed now. */
  commit(effects: Effect[]): Effect[] {
    let lazy = true;
    for (const effect of effects) {
      if (effect.type === "persist") {
        this.#rows.set(effect.row.key, effect.row);
        lazy &&= effect.lazy === true;
        continue;
      }
      if (effect.type === "persist.command") this.#commands.push(effect.row);
      else if (effect.type === "persist.resume") this.#resume = effect.resume;
      // The number is written with the rest, and a disk that refuses it keeps no provider from starting.
      else if (effect.type === "spawn") this.#incarnation = effect.incarnation;
      else continue;
      lazy = false;
    }
    if (this.#cancelRetry === null) {
      if (lazy) return this.#later(), effects;
      if (this.#write()) return effects;
    }
    return effects.filter((effect) => !this.#refuses(effect));
  }

  /** Finds a message as the journal will have it. */
  find(key: string): JournalRow | null {
    return this.#rows.get(key) ?? this.#ports.journal.find(key);
  }

  #later(): void {
    if (this.#rows.size === 0 || this.#cancelLazy !== null) return;
    this.#cancelLazy = this.#ports.clock.setTimer(LAZY_MS, () => {
      this.#cancelLazy = null;
      if (this.#cancelRetry === null) this.#write();
    });
  }

  /** True for an effect that must not happen unwritten; tells the core that it did not. */
  #refuses(effect: Effect): boolean {
    const reason = "the journal cannot be written";
    switch (effect.type) {
      case "claim":
        this.#post({ type: "claim.failed", key: effect.key, reason });
        return true;
      case "deliver":
        this.#post({ type: "hand.refused", key: effect.key, deliveryId: effect.deliveryId });
        return true;
      case "reply":
        this.#post({ type: "reply.failed", key: effect.key, reason, permanent: false });
        return true;
      case "begin":
        this.#begins.push(effect.commandId);
        return true;
      default:
        return false;
    }
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

  #write(renewed = false): boolean {
    this.#cancelLazy?.();
    this.#cancelLazy = null;
    const nothing = this.#rows.size === 0 && this.#commands.length === 0 && this.#resume === undefined;
    if (nothing && this.#incarnation === undefined) return true;
    try {
      this.#ports.journal.write({
        rows: [...this.#rows.values()],
        commands: this.#commands,
        ...(this.#resume === undefined ? {} : { resume: this.#resume }),
        ...(this.#incarnation === undefined ? {} : { incarnation: this.#incarnation }),
      });
    } catch (error) {
      if (!renewed && error instanceof RunnerError && error.code === "E_STATE") {
        for (const row of this.#open()) if (!this.#rows.has(row.key)) this.#rows.set(row.key, row);
        return this.#write(true);
      }
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
    this.#incarnation = undefined;
    this.#prune();
    return true;
  }

  /** A runner that lives for months must not keep what it did in the first one. */
  #prune(): void {
    if (this.#ended < PRUNE_EVERY) return;
    this.#ended = 0;
    try {
      // When there is more to remove, the next write goes on with it.
      if (this.#ports.journal.prune(this.#ports.clock.wall())) this.#ended = PRUNE_EVERY;
    } catch (error) {
      this.#ports.log.warn("cannot prune the journal", { reason: messageOf(error) });
    }
  }

  #retry(): void {
    this.#cancelRetry = null;
    if (!this.#write()) return;
    this.#tries = 0;
    this.#post({ type: "storage", ok: true, reason: "" });
    for (const commandId of this.#begins.splice(0)) this.#post({ type: "begin", commandId });
  }
}
