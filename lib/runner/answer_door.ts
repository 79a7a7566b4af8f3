import type { Message } from "../protocol/message.ts";
import { PROGRESS_KIND } from "../sdk/progress.ts";

/** Answers remembered that a call returned before the bus brought them; it need not bring them at all. */
const RETURNED_LIMIT = 64;

/** A message whose answer somebody waits for. */
export interface AwaitedAnswer {
  /** Resolves when the answer comes over the bus. */
  readonly came: Promise<Message>;
  /** This answer goes to whoever waits: the runner gets it no more. */
  take(answer: Message): void;
  /** Nobody waits any longer: an answer that came and was not taken goes to the runner. Idempotent. */
  end(): void;
}

interface Waiting {
  came: Message | null;
  resolve(answer: Message): void;
}

/**
 * Stands before the runner's queue and keeps back the answers that a tool call waits for, which the model would get twice
 * otherwise. One that is not taken is handed on, so that nothing is lost with a call that was given up.
 */
export class AnswerDoor {
  readonly #deliver: (message: Message) => void;
  /** By the message that is to be answered. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #returned = new Set<number>();
  /** Sends under way: which message they make is not known yet. */
  #sending = 0;
  /** Answers that came meanwhile. */
  #early: Message[] = [];

  constructor(deliver: (message: Message) => void) {
    this.#deliver = deliver;
  }

  /** True when the message is kept back. */
  takes(message: Message): boolean {
    if (this.#returned.delete(message.id)) return true;
    if (message.replyTo === undefined || message.kind === PROGRESS_KIND) return false;
    const waiting = this.#waiting.get(message.replyTo);
    if (waiting !== undefined) {
      if (waiting.came !== null && waiting.came.id !== message.id) return false;
      waiting.came = message;
      waiting.resolve(message);
      return true;
    }
    if (this.#sending === 0) return false;
    this.#early.push(message);
    return true;
  }

  /** Sends, and waits for the answer of what was sent: it may come before `send` has told the message's id. */
  async sent<T>(
    send: () => Promise<T>,
    idOf: (result: T) => number | null,
  ): Promise<[T, AwaitedAnswer | null]> {
    this.#sending++;
    let awaited: AwaitedAnswer | null = null;
    try {
      const result = await send();
      const id = idOf(result);
      if (id !== null) awaited = this.#await(id);
      return [result, awaited];
    } finally {
      this.#sending--;
      const early = this.#early;
      this.#early = [];
      for (const message of early) if (!this.takes(message)) this.#deliver(message);
    }
  }

  #await(messageId: number): AwaitedAnswer {
    const { promise, resolve } = Promise.withResolvers<Message>();
    const waiting: Waiting = { came: null, resolve };
    this.#waiting.set(messageId, waiting);
    const end = () => {
      if (this.#waiting.get(messageId) !== waiting) return;
      this.#waiting.delete(messageId);
      if (waiting.came !== null) this.#deliver(waiting.came);
    };
    return {
      came: promise,
      take: (answer) => {
        if (waiting.came?.id === answer.id) waiting.came = null;
        else this.#remember(answer.id);
        end();
      },
      end,
    };
  }

  #remember(id: number): void {
    this.#returned.add(id);
    for (const oldest of this.#returned) {
      if (this.#returned.size <= RETURNED_LIMIT) break;
      this.#returned.delete(oldest);
    }
  }
}
