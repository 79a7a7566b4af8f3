import { RunnerError } from "../base/errors.ts";

/** Watchers at a time. */
const WATCHERS = 8;
/** What may wait for a watcher that does not read. */
const WAITING_BYTES = 1024 * 1024;
/** What a new watcher is shown of the time before: at most so many events, and characters in all. */
const KEPT_EVENTS = 200;
const KEPT_CHARS = 64 * 1024;

/** Something that happened, and about how many characters it is. */
export interface WatchedEvent {
  event: unknown;
  chars: number;
}

interface Watcher {
  stream: ReadableStreamDefaultController<Uint8Array>;
  /** Events that were left out since it last took one. */
  dropped: number;
}

/**
 * The control server's end of `GET /watch`: every watcher gets the last events and then each new one, one line a piece.
 * Nobody is waited for: a watcher that does not read is told how much it missed. Events are encoded only when somebody
 * watches, so that a run that nobody looks at pays for a list of references.
 */
export class WatchDoor {
  readonly #encode: (event: unknown) => string;
  readonly #watchers = new Set<Watcher>();
  readonly #kept: WatchedEvent[] = [];
  #keptChars = 0;
  #over = false;

  constructor(encode: (event: unknown) => string) {
    this.#encode = encode;
  }

  /** Tells those who watch, and keeps the event for those who come. */
  publish(watched: WatchedEvent): void {
    if (this.#over) return;
    this.#kept.push(watched);
    this.#keptChars += watched.chars;
    while (this.#kept.length > KEPT_EVENTS || (this.#keptChars > KEPT_CHARS && this.#kept.length > 1)) {
      this.#keptChars -= this.#kept.shift()!.chars;
    }
    if (this.#watchers.size === 0) return;
    const line = this.#line(watched.event);
    for (const watcher of this.#watchers) this.#tell(watcher, line);
  }

  /** Answers a request whose token was checked: a stream that ends with the run. Throws `E_RATE` when too many watch. */
  accept(): Response {
    if (this.#watchers.size >= WATCHERS) throw new RunnerError("E_RATE", "too many watch already");
    let watcher: Watcher | null = null;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        watcher = { stream: controller, dropped: 0 };
        for (const { event } of this.#kept) this.#tell(watcher, this.#line(event));
        if (this.#over) controller.close();
        else this.#watchers.add(watcher);
      },
      cancel: () => {
        if (watcher !== null) this.#watchers.delete(watcher);
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: WAITING_BYTES }));
    return new Response(stream, {
      headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
    });
  }

  /** Ends every stream. Idempotent. */
  stop(): void {
    this.#over = true;
    for (const { stream } of this.#watchers) {
      try {
        stream.close();
      } catch { /* its reader has gone */ }
    }
    this.#watchers.clear();
  }

  #line(event: unknown): Uint8Array {
    return new TextEncoder().encode(this.#encode(event) + "\n");
  }

  #tell(watcher: Watcher, line: Uint8Array): void {
    const { stream } = watcher;
    const room = stream.desiredSize ?? 0;
    if (room < line.byteLength) {
      watcher.dropped++;
      return;
    }
    if (watcher.dropped > 0) {
      stream.enqueue(this.#line({ type: "dropped", events: watcher.dropped }));
      watcher.dropped = 0;
    }
    stream.enqueue(line);
  }
}
