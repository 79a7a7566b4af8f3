import type { ProviderEvent } from "../contract.ts";
import { classify } from "./failure.ts";
import { inputOf, isApiError, type Row, textOf } from "./transcript.ts";

/** An answer with one of these ends its turn; `tool_use` goes on. */
const ENDS_TURN = new Set(["end_turn", "stop_sequence", "max_tokens", "refusal"]);
const INTERRUPTED = "[Request interrupted by user";

/**
 * Follows deliveries through the rows of an interactive session's transcript and turns them into events. Pure.
 *
 * What proves what (measured, 2.1.330): a user row with our uuid, or the `queued_command` that carries it into a running
 * turn, is `placed`; a real assistant row after it is `seen`; one that ends its turn is `done`. `queue-operation` rows
 * prove nothing.
 */
export class TranscriptFollower {
  readonly #emit: (event: ProviderEvent) => void;
  readonly #open = new Map<string, "handed" | "placed" | "seen">();

  constructor(emit: (event: ProviderEvent) => void) {
    this.#emit = emit;
  }

  /** Deliveries whose turn has not ended. */
  get open(): ReadonlyMap<string, string> {
    return this.#open;
  }

  handed(deliveryId: string): void {
    this.#open.set(deliveryId, "handed");
  }

  forget(deliveryId: string): void {
    this.#open.delete(deliveryId);
  }

  /** Takes the next row. */
  take(row: Row): void {
    if (row.isSidechain === true) return;
    const input = inputOf(row);
    if (input !== null && this.#open.get(input) === "handed") {
      this.#open.set(input, "placed");
      const evidence = row.type === "user"
        ? `user row ${input} in the transcript`
        : `queued_command of ${input}`;
      return this.#emit({ type: "evidence", deliveryId: input, stage: "placed", evidence });
    }
    if (row.type === "user" && interrupted(row)) {
      return this.#fail("cancelled", "the turn was interrupted");
    }
    if (row.type !== "assistant") return;
    if (isApiError(row)) {
      const text = textOf(row);
      const status = Number(/API Error:? (\d{3})/.exec(text)?.[1]) || undefined;
      return this.#fail(classify({ status, text }), text.slice(0, 300));
    }
    for (const [id, stage] of this.#open) {
      if (stage !== "placed") continue;
      this.#open.set(id, "seen");
      const evidence = `assistant row ${row.uuid ?? ""} after ours in the transcript`;
      this.#emit({ type: "evidence", deliveryId: id, stage: "seen", evidence });
    }
    if (!ENDS_TURN.has(row.message?.stop_reason ?? "")) return;
    const done = [...this.#open].flatMap(([id, stage]) => stage === "seen" ? [id] : []);
    for (const id of done) this.#open.delete(id);
    if (done.length === 0) return;
    const evidence = `assistant row ${row.uuid ?? ""} ended the turn`;
    this.#emit({ type: "done", deliveryIds: done, text: textOf(row), evidence });
  }

  #fail(failure: ReturnType<typeof classify>, reason: string): void {
    const ids = [...this.#open].flatMap(([id, stage]) => stage === "handed" ? [] : [id]);
    for (const id of ids) this.#open.delete(id);
    if (ids.length > 0) this.#emit({ type: "failed", deliveryIds: ids, failure, reason });
  }
}

function interrupted(row: Row): boolean {
  return textOf(row).startsWith(INTERRUPTED);
}
