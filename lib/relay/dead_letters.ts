import { RunnerError } from "../base/errors.ts";
import type { DeadLetter } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";
import { KEEP_MS, type MessageStore } from "./messages.ts";
import type { ReceiptStore } from "./receipts.ts";
import { storedText } from "./stored_text.ts";

/** Characters of an excerpt; in UTF-8 each has up to 4 bytes. */
const EXCERPT = 200;

/** One dead letter, as whoever acts on it saw it. */
export interface DeadLetterKey {
  messageId: number;
  agentId: string;
  generation: number;
}

/**
 * Messages that an agent gave up on. They are kept until a person opens or drops them, whatever their age, and are
 * not offered meanwhile. Methods that change something run inside a group commit and may be repeated.
 */
export class DeadLetters {
  readonly #db: RelayDatabase;
  readonly #messages: MessageStore;
  readonly #receipts: ReceiptStore;

  constructor(db: RelayDatabase, messages: MessageStore, receipts: ReceiptStore) {
    this.#db = db;
    this.#messages = messages;
    this.#receipts = receipts;
  }

  /** Dead letters of one agent, or of all when `agentId` is null, by message id. */
  list(agentId: string | null, limit: number): DeadLetter[] {
    const last = (column: string) =>
      `(SELECT ${column} FROM report p WHERE p.message_id = r.message_id AND p.agent_id = r.agent_id
        AND p.stage = 'dead' ORDER BY p.line DESC LIMIT 1)`;
    const rows = this.#db.all<{
      message_id: number;
      agent_id: string;
      generation: number;
      from_agent: string;
      to_target: string;
      subject: string | null;
      /** SQLite has no part of a body that is empty. */
      excerpt: Uint8Array | null;
      at: number | null;
      reason: string | null;
    }>(
      `SELECT r.message_id, r.agent_id, r.generation, m.from_agent, m.to_target, m.subject,
         substr(CAST(m.body AS BLOB), 1, ${EXCERPT * 4}) AS excerpt, ${last("at")} AS at, ${
        last("evidence")
      } AS reason
       FROM recipient r JOIN message m ON m.id = r.message_id
       WHERE r.closed = 2 AND (? IS NULL OR r.agent_id = ?) ORDER BY r.message_id, r.agent_id LIMIT ?`,
      agentId,
      agentId,
      limit,
    );
    return rows.map((row) => ({
      messageId: row.message_id,
      agentId: row.agent_id,
      generation: row.generation,
      at: row.at ?? 0,
      reason: row.reason ?? "",
      from: row.from_agent,
      to: row.to_target,
      ...(row.subject === null ? {} : { subject: row.subject }),
      excerpt: [...storedText(row.excerpt ?? new Uint8Array())].slice(0, EXCERPT).join(""),
    }));
  }

  /**
   * Opens a dead letter again under the next generation; false when that was done before. Throws `E_NOT_FOUND`, and
   * `E_CONFLICT` when the message is no dead letter of that agent.
   */
  retry(key: DeadLetterKey, now: number): boolean {
    const { closed, generation } = this.#need(key);
    if (generation > key.generation) return false;
    if (closed !== 2) throw notDead(key);
    this.#db.run(
      "UPDATE recipient SET closed = 0, generation = generation + 1 WHERE message_id = ? AND agent_id = ?",
      key.messageId,
      key.agentId,
    );
    // Its time to live may have passed while it was dead.
    this.#db.run(
      "UPDATE message SET expires_at = max(expires_at, ?) WHERE id = ? AND expires_at IS NOT NULL",
      now + KEEP_MS,
      key.messageId,
    );
    this.#note(key, "reopened", now, generation + 1);
    return true;
  }

  /** Ends a dead letter; false when that was done before. Throws as {@linkcode retry}. */
  drop(key: DeadLetterKey, now: number): boolean {
    const { closed, generation } = this.#need(key);
    if (closed === 1) return false;
    if (closed !== 2 || generation !== key.generation) throw notDead(key);
    this.#db.run(
      "UPDATE recipient SET closed = 1 WHERE message_id = ? AND agent_id = ?",
      key.messageId,
      key.agentId,
    );
    this.#note(key, "dropped", now, generation);
    return true;
  }

  #need({ messageId, agentId }: DeadLetterKey): { closed: number; generation: number } {
    const row = this.#db.get<{ closed: number; generation: number }>(
      "SELECT closed, generation FROM recipient WHERE message_id = ? AND agent_id = ?",
      messageId,
      agentId,
    );
    if (row === undefined || !this.#messages.exists(messageId)) {
      throw new RunnerError("E_NOT_FOUND", `message ${messageId} was not sent to ${agentId}`);
    }
    return row;
  }

  #note(key: DeadLetterKey, stage: "reopened" | "dropped", at: number, generation: number): void {
    const { messageId, agentId } = key;
    this.#receipts.report([{ messageId, agentId, stage, at, generation, evidence: "by the operator" }], at);
  }
}

function notDead({ messageId, agentId }: DeadLetterKey): RunnerError {
  return new RunnerError("E_CONFLICT", `message ${messageId} is no dead letter of ${agentId}`);
}
