import type { ProbeResult } from "../../lib/providers/contract.ts";
import type { Case, Turn } from "./case.ts";
import type { ProcessModel } from "./process_model.ts";

/** What an agent wrote down about a delivery; readable once it is older than the write's delay. */
export interface RecordRow {
  readonly case: Case;
  readonly turn: Turn;
  readonly visibleAt: number;
}

/** A delivery that waits inside the provider. */
export interface Waiting {
  readonly deliveryId: string;
  readonly case: Case;
}

/** What of an agent outlives its processes: conversations with their records, and Codex's queue. */
export class AgentModel {
  /** Records by conversation. */
  readonly conversations = new Map<string, Map<string, RecordRow>>();
  /** Deliveries that wait in Codex's thread; they start by themselves when it is taken up again. */
  queue: Waiting[] = [];
  /** Codex's queue stands still until somebody starts it. */
  paused = false;
  /** What a person would have to mend; every turn fails with it. */
  fault: string | null = null;
  /** The process that runs, if any. There must never be two. */
  live: ProcessModel | null = null;
  starts = 0;
  #conversations = 0;

  newConversation(): string {
    return `conversation-${++this.#conversations}`;
  }

  records(conversation: string): Map<string, RecordRow> {
    let records = this.conversations.get(conversation);
    if (records === undefined) this.conversations.set(conversation, records = new Map());
    return records;
  }
}

/** Says what a record tells of a turn whose process is gone, or that has ended. */
export function judgeTurn(turn: Turn): ProbeResult {
  const evidence = "the record";
  switch (turn.end?.how) {
    case "done":
      return { state: "done", evidence, text: "answer" };
    case "failed":
      if (turn.seenAt !== null) return { state: "seen", evidence };
      return { state: "failed", failure: turn.end.failure ?? "transient", reason: turn.end.reason };
    case "cut":
    case undefined:
      if (turn.seenAt !== null) return { state: "seen", evidence };
      return { state: "failed", failure: "cancelled", reason: "the record holds it without an answer" };
  }
}
