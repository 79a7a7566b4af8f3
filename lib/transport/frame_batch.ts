/** A batch goes out as soon as it is this long. */
const BATCH_CHARS = 64 * 1024;

/**
 * The frames one side sends, those of one moment as one text: an array of frames where the peer takes them, each by
 * itself before that is known. A text costs both sides more than a frame in it, and a socket with Nagle's algorithm
 * holds the second of two small texts back until the first has arrived.
 */
export class FrameBatch {
  readonly #write: (text: string) => void;
  #waiting: string[] = [];
  #length = 0;
  /** The peer takes arrays. */
  taken = false;

  /** `write` sends one text. */
  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** Sends a frame at the end of the running task at the latest, in order. */
  send(frame: string): void {
    if (!this.taken) return this.#write(frame);
    this.#length += frame.length;
    if (this.#waiting.push(frame) === 1) queueMicrotask(() => this.flush());
    if (this.#length >= BATCH_CHARS) this.flush();
  }

  /** Sends what waits. */
  flush(): void {
    const frames = this.#waiting;
    if (frames.length === 0) return;
    this.#waiting = [];
    this.#length = 0;
    this.#write(frames.length === 1 ? frames[0]! : `[${frames.join(",")}]`);
  }

  /** Forgets what waits: the link is gone. */
  clear(): void {
    this.#waiting = [];
    this.#length = 0;
  }
}
