import { TIMED_OUT, withDeadline } from "../../base/clock.ts";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";

/** What may wait for a reader behind what is being written, in characters; one text alone may be longer. */
const LIMIT = 4 * 1024 * 1024;
/** Bytes of one write: small enough that a slow reader is seen to read. */
const PIECE = 64 * 1024;

/** Where a queue writes to, like `Deno.stdout`. */
export interface OutputSink {
  /** Resolves with the number of bytes taken. */
  write(bytes: Uint8Array): Promise<number>;
}

/** How to make an {@linkcode OutputQueue}. */
export interface OutputQueueOptions {
  sink: OutputSink;
  clock: Clock;
  /** What stands in place of that many characters that had to be dropped. */
  dropped(characters: number): string;
  /** The first time that output is lost, and why; told once. */
  trouble(why: string): void;
  /** Default 4 Mi characters. */
  limit?: number;
}

/**
 * An output of a run that is written beside the work: a reader that does not read (a pager, a stuck log collector,
 * Ctrl-S) holds up neither the messages nor the relay of this process, which a synchronous write would. What waits has
 * a bound; beyond it whole texts are dropped, and what is left out is said in its place.
 */
export class OutputQueue {
  readonly #options: OutputQueueOptions;
  #limit: number;
  #waiting = "";
  #dropped = 0;
  #writing: Promise<void> | null = null;
  #taken = 0;
  #reader: "there" | "gone" = "there";
  #trouble: string | null = null;

  constructor(options: OutputQueueOptions) {
    this.#options = options;
    this.#limit = options.limit ?? LIMIT;
  }

  /** Why output was lost, null when none was; a closed pipe (`| head`) is the reader's choice and no loss. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Writes a text after those before it. What is said in one moment is one write. */
  write(text: string): void {
    if (this.#reader === "gone" || text === "") return;
    if (this.#waiting !== "" && this.#waiting.length + text.length > this.#limit) {
      this.#dropped += text.length;
      return this.#lost("nobody reads it");
    }
    this.#sayDropped();
    this.#waiting += text;
    this.#writing ??= this.#write();
  }

  /**
   * Resolves once everything is written, or once the reader has taken nothing for `stallMs`. What is written from now on
   * is not dropped: the last words of a run count most.
   */
  async end(stallMs: number): Promise<void> {
    this.last();
    while (this.#writing !== null) {
      const taken = this.#taken;
      const over = await withDeadline(this.#options.clock, stallMs, this.#writing);
      if (over === TIMED_OUT && taken === this.#taken) return this.#lost("nobody reads it");
    }
  }

  /** What is written from now on is not dropped. */
  last(): void {
    this.#limit = Infinity;
    if (this.#reader === "there") this.#sayDropped();
  }

  #sayDropped(): void {
    if (this.#dropped === 0) return;
    this.#waiting += this.#options.dropped(this.#dropped);
    this.#dropped = 0;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    // By then the moment is over in which several texts are said.
    await Promise.resolve();
    while (this.#waiting !== "" && this.#reader === "there") {
      const bytes = new TextEncoder().encode(this.#waiting);
      this.#waiting = "";
      try {
        for (let at = 0; at < bytes.length;) {
          const count = await this.#options.sink.write(bytes.subarray(at, at + PIECE));
          at += count;
          this.#taken += count;
        }
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) this.#reader = "gone";
        // A full disk: what comes later may find room again.
        else this.#lost(messageOf(error));
      }
    }
    this.#writing = null;
  }

  #lost(why: string): void {
    if (this.#trouble !== null) return;
    this.#trouble = why;
    this.#options.trouble(why);
  }
}
