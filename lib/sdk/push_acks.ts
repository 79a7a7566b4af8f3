import { afterReadyInput, type Clock } from "../base/clock.ts";
import type { FrameBatch } from "../transport/frame_batch.ts";

/**
 * How long the ack of a push waits for a frame that it can go along with. The relay's window takes more than a burst
 * brings in that time, and the relay repeats a push 30 s later.
 */
const ACK_MS = 10;
/** Acks that are held back; a relay that goes on pushing without them has no window. */
const HELD_LIMIT = 1_024;

/**
 * Acknowledges the relay's pushes, which costs a text and wakes the relay: so the acks go along with what is said anyway,
 * or together.
 *
 * The client's sockets hold a small frame back until the one before it has arrived (Nagle), which a peer that has nothing
 * to say confirms 40 ms late (measured, Deno 2.9.6; there is no switch). So no frame goes out without being answered: the
 * batch sees to that where the peer takes several frames in a text; elsewhere, of the acks of one moment the first and the
 * last carry an id.
 */
export class PushAcks {
  readonly #out: FrameBatch;
  readonly #clock: Clock;
  readonly #newId: () => string;
  /** Pushes that arrived together and whose acks go out together. */
  #arrived: string[] = [];
  /** Messages whose acks are held back, null while none are. */
  #held: Set<string> | null = null;
  #cancelFlush: (() => void) | null = null;

  constructor(options: { out: FrameBatch; clock: Clock; newId(): string }) {
    this.#out = options.out;
    this.#clock = options.clock;
    this.#newId = options.newId;
  }

  /** A message was pushed; its ack may be held back. */
  message(frameId: string): void {
    if (this.#held !== null && this.#held.size < HELD_LIMIT) this.#held.add(frameId);
    else this.push(frameId);
  }

  /** Something was pushed. */
  push(frameId: string): void {
    if (this.#out.taken) {
      this.#out.sendAlong(ackOf(frameId));
      this.#cancelFlush ??= this.#clock.setTimer(ACK_MS, () => {
        this.#cancelFlush = null;
        this.#out.flush();
      });
      return;
    }
    if (this.#arrived.push(frameId) > 1) return;
    afterReadyInput(() => {
      const arrived = this.#arrived;
      this.#arrived = [];
      arrived.forEach((each, index) => {
        const answered = index === 0 || index === arrived.length - 1;
        this.#out.send(ackOf(each, answered ? this.#newId() : undefined), answered);
      });
    });
  }

  /** Holds the acks of messages back until it is called with false. Idempotent. */
  hold(hold: boolean): void {
    if (hold) return void (this.#held ??= new Set());
    const held = this.#held;
    this.#held = null;
    for (const frameId of held ?? []) this.push(frameId);
  }

  /** The link is gone: its pushes come again on the next one. */
  clear(): void {
    this.#arrived.length = 0;
    this.#held?.clear();
    this.#cancelFlush?.();
    this.#cancelFlush = null;
  }
}

function ackOf(frameId: string, id?: string): string {
  return JSON.stringify({ type: "ack", ...(id === undefined ? {} : { id }), payload: { frameId } });
}
