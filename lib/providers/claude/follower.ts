import type { ProviderEvent } from "../contract.ts";
import { classify } from "./failure.ts";
import { noticeToken } from "./notice.ts";
import { inputOf, isApiError, type Row, textOf, toolResultsOf, toolUsesOf } from "./transcript.ts";
import { wholeReason } from "../reason.ts";

/** An answer with one of these ends its turn; `tool_use` goes on. */
const ENDS_TURN = new Set(["end_turn", "stop_sequence", "max_tokens", "refusal"]);
const INTERRUPTED = "[Request interrupted by user";

/**
 * Where a delivery stands. `announced`: a hook showed its text, but its row was not read yet, so rows that are read
 * now may belong to the turn before it.
 */
type Stage = "handed" | "announced" | "placed" | "seen";

interface Followed {
  stage: Stage;
  /** Exactly what was handed over, or for a pointer the file that it points to. */
  what: { kind: "text"; text: string } | {
    kind: "notice";
    path: string;
    reading: Set<string>;
    read: boolean;
  };
  /** Conversation whose rows speak of it. */
  conversation: string | null;
}

/**
 * Follows deliveries through the hooks and transcript rows of an interactive session and turns them into events. Pure.
 *
 * What proves what (measured, 2.1.330): `UserPromptSubmit` with exactly our text, a user row with our uuid, or the
 * `queued_command` that carries it into a running turn, is `placed`; a real assistant row after that row is `seen`; one
 * that ends its turn is `done`. `queue-operation` rows prove nothing. Of a message that the model was only pointed to,
 * the pointer's row is `placed`, and only an assistant row after a tool result with the file is `seen`.
 */
export class TranscriptFollower {
  readonly #emit: (event: ProviderEvent) => void;
  readonly #open = new Map<string, Followed>();

  constructor(emit: (event: ProviderEvent) => void) {
    this.#emit = emit;
  }

  /** True while a delivery's turn has not ended. */
  has(deliveryId: string): boolean {
    return this.#open.has(deliveryId);
  }

  /** True once something proved that the agent has the delivery. */
  isPlaced(deliveryId: string): boolean {
    const followed = this.#open.get(deliveryId);
    return followed !== undefined && followed.stage !== "handed";
  }

  /** Number of deliveries whose turn has not ended. */
  get size(): number {
    return this.#open.size;
  }

  /** A delivery is about to be handed over; `path` is the file that a pointer points to. */
  handed(deliveryId: string, text: string, path: string | null): void {
    this.#open.set(deliveryId, {
      stage: "handed",
      what: path === null
        ? { kind: "text", text }
        : { kind: "notice", path, reading: new Set(), read: false },
      conversation: null,
    });
  }

  forget(deliveryId: string): void {
    this.#open.delete(deliveryId);
  }

  /** Takes the text of a `UserPromptSubmit` hook. */
  prompt(text: string): void {
    for (const [id, followed] of this.#open) {
      const { stage, what } = followed;
      if (stage !== "handed") continue;
      if (what.kind === "text" ? what.text !== text : !text.includes(noticeToken(id))) continue;
      followed.stage = "announced";
      this.#placed(id, followed, "UserPromptSubmit hook");
      // Of two with the same text only one was shown.
      return;
    }
  }

  /** Takes the next row of a conversation's transcript. */
  take(row: Row, conversation: string): void {
    if (row.isSidechain === true) return;
    const input = this.#inputOf(row);
    if (input !== null) {
      const [id, followed] = input;
      const known = followed.stage === "announced";
      followed.stage = "placed";
      followed.conversation = conversation;
      if (!known) this.#placed(id, followed, row.type === "user" ? "user row" : "queued_command");
      return;
    }
    if (row.type === "user") {
      if (textOf(row).startsWith(INTERRUPTED)) {
        return this.#fail("cancelled", "the turn was interrupted", conversation);
      }
      return this.#results(row, conversation);
    }
    if (row.type === "assistant") this.#assistant(row, conversation);
    else if (row.promptSubmitEnding?.ending?.kind === "blocked_by_hook") this.#blocked(row);
  }

  /** A hook of the person's refused a prompt; the row holds it in full and names no uuid. */
  #blocked({ content = "", promptSubmitEnding }: Row): void {
    for (const [id, { stage, what }] of this.#open) {
      if (stage !== "handed" && stage !== "announced") continue;
      if (!content.includes(what.kind === "text" ? what.text : noticeToken(id))) continue;
      this.#open.delete(id);
      const reason = wholeReason(`a hook refused it: ${promptSubmitEnding?.ending?.reason ?? ""}`);
      return this.#emit({ type: "failed", deliveryIds: [id], failure: "message", reason });
    }
  }

  #inputOf(row: Row): [string, Followed] | null {
    if (row.type !== "user" && row.type !== "attachment") return null;
    if (toolResultsOf(row).length > 0) return null;
    const uuid = inputOf(row);
    for (const [id, followed] of this.#open) {
      if (followed.stage !== "handed" && followed.stage !== "announced") continue;
      const ours = followed.what.kind === "text"
        ? uuid === id
        : JSON.stringify(row).includes(noticeToken(id));
      if (ours) return [id, followed];
    }
    return null;
  }

  #placed(id: string, { what }: Followed, where: string): void {
    const evidence = what.kind === "text"
      ? where === "UserPromptSubmit hook" ? `${where} with our text` : `${where} ${id} in the transcript`
      : `${where} with our notice: the model is told of the message, it has not the text yet`;
    this.#emit({ type: "evidence", deliveryId: id, stage: "placed", evidence });
  }

  /** The results of tools: one of them may hold the file that a notice points to. */
  #results(row: Row, conversation: string): void {
    const results = toolResultsOf(row);
    if (results.length === 0) return;
    for (const { what } of this.#here(conversation)) {
      if (what.kind !== "notice") continue;
      what.read ||= results.some(({ id, isError }) => !isError && what.reading.has(id));
    }
  }

  #assistant(row: Row, conversation: string): void {
    if (isApiError(row)) {
      const text = textOf(row);
      const status = Number(/API Error:? (\d{3})/.exec(text)?.[1]) || undefined;
      return this.#fail(classify({ status, text }), wholeReason(text), conversation);
    }
    const uses = toolUsesOf(row);
    const ends = ENDS_TURN.has(row.message?.stop_reason ?? "");
    for (const [id, followed] of this.#open) {
      this.#reads(id, followed, uses, conversation);
      const { what, stage } = followed;
      if (followed.conversation !== conversation) continue;
      if (stage === "placed" && (what.kind === "text" || what.read)) {
        followed.stage = "seen";
        const evidence = what.kind === "text"
          ? `assistant row ${row.uuid ?? ""} after ours in the transcript`
          : `assistant row ${row.uuid ?? ""} after the tool result that holds the message's file`;
        this.#emit({ type: "evidence", deliveryId: id, stage: "seen", evidence });
      }
      if (!ends || followed.stage === "handed" || followed.stage === "announced") continue;
      this.#open.delete(id);
      if (followed.stage === "seen") {
        const evidence = `assistant row ${row.uuid ?? ""} ended the turn`;
        this.#emit({ type: "done", deliveryIds: [id], text: textOf(row), evidence });
      } else {
        const reason = "the model was told of the message and ended its turn without reading it";
        this.#emit({ type: "failed", deliveryIds: [id], failure: "cancelled", reason });
      }
    }
  }

  /** A call that names a notice's file: nobody knows that name who was not told, whatever order the rows come in. */
  #reads(id: string, followed: Followed, uses: ReturnType<typeof toolUsesOf>, conversation: string): void {
    const { what, stage } = followed;
    if (what.kind !== "notice") return;
    const calls = uses.filter(({ input }) => JSON.stringify(input ?? null).includes(what.path));
    if (calls.length === 0) return;
    for (const call of calls) what.reading.add(call.id);
    followed.conversation ??= conversation;
    if (stage === "handed" || stage === "announced") followed.stage = "placed";
    if (stage === "handed") this.#placed(id, followed, "call of a tool");
  }

  /** Deliveries that this conversation's rows speak of. */
  #here(conversation: string): Followed[] {
    return [...this.#open.values()].filter((followed) => followed.conversation === conversation);
  }

  #fail(failure: ReturnType<typeof classify>, reason: string, conversation: string): void {
    const ids = [...this.#open].flatMap(([id, followed]) =>
      followed.conversation === conversation ? [id] : []
    );
    for (const id of ids) this.#open.delete(id);
    if (ids.length > 0) this.#emit({ type: "failed", deliveryIds: ids, failure, reason });
  }
}
