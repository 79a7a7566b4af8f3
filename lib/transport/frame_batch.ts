import { utf8Length } from "../base/bytes.ts";

/** A batch goes out as soon as it is this long. */
const BATCH_CHARS = 64 * 1024;
/** Texts up to this size leave the client's WebSocket in one piece; larger ones are a header and then a payload. */
const WHOLE_BYTES = 1_000;

/** How the frames of one side are written. */
export interface FrameBatchOptions {
  /** Sends one text. */
  write(text: string): void;
  /**
   * For a socket with Nagle's algorithm: makes a small frame that the peer answers at once. Without it, nothing is done
   * about long texts.
   */
  probe?(): string;
}

/**
 * The frames one side sends, those of one moment as one text: an array of frames where the peer takes them, each by
 * itself before that is known. A text costs both sides more than a frame in it.
 *
 * The client's WebSocket writes a long text in two pieces, and its socket, which has Nagle's algorithm and no switch for
 * it, holds the second back until the first has been confirmed. A peer that waits for the rest before it can answer does
 * that 40 ms late (measured, Deno 2.9.6). So a long text follows a small one that is answered: while that is on its way,
 * both pieces wait, and then leave together. And no text goes out without a frame that is answered, which would hold up
 * the next one in the same way.
 */
export class FrameBatch {
  readonly #options: FrameBatchOptions;
  #waiting: string[] = [];
  /** Frames that go out with the others. */
  #along: string[] = [];
  #length = 0;
  /** Of the frames that wait: is the first answered, is any. */
  #answered: "none" | "later" | "first" = "none";
  /** The peer takes arrays. */
  taken = false;

  constructor(options: FrameBatchOptions) {
    this.#options = options;
  }

  /** Sends a frame at the end of the running task at the latest, in order. `answered`: the peer will answer it. */
  send(frame: string, answered = true): void {
    if (!this.taken) return this.#options.write(frame);
    this.#length += frame.length;
    if (this.#waiting.push(frame) === 1) {
      this.#answered = answered ? "first" : "none";
      queueMicrotask(() => this.flush());
    } else if (answered && this.#answered === "none") this.#answered = "later";
    if (this.#length >= BATCH_CHARS) this.flush();
  }

  /**
   * Sends a frame that is not answered with the next one that is, behind it, or with the next {@linkcode flush}: a text of
   * its own would wake the peer for something that it does not wait for. Only for a peer that takes arrays.
   */
  sendAlong(frame: string): void {
    this.#along.push(frame);
    this.#length += frame.length;
    if (this.#length >= BATCH_CHARS) this.flush();
  }

  /** Sends what waits. */
  flush(): void {
    const frames = this.#waiting.concat(this.#along);
    if (frames.length === 0) return;
    const answered = this.#answered;
    this.clear();
    const { write, probe } = this.#options;
    if (probe !== undefined && answered === "none") frames.push(probe());
    const text = textOf(frames);
    if (probe === undefined || isWhole(text)) return write(text);
    if (answered === "first" && frames.length > 1 && isWhole(frames[0]!)) {
      write(frames[0]!);
      write(textOf(frames.slice(1)));
    } else {
      write(probe());
      write(text);
    }
  }

  /** Forgets what waits: the link is gone. */
  clear(): void {
    this.#waiting = [];
    this.#along = [];
    this.#answered = "none";
    this.#length = 0;
  }
}

function textOf(frames: readonly string[]): string {
  return frames.length === 1 ? frames[0]! : `[${frames.join(",")}]`;
}

function isWhole(text: string): boolean {
  return text.length <= WHOLE_BYTES && utf8Length(text) <= WHOLE_BYTES;
}
