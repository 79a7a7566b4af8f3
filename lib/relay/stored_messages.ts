import { utf8Length } from "../base/bytes.ts";
import { RunnerError } from "../base/errors.ts";
import type { Message } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";
import { storedText } from "./stored_text.ts";

/** A message as the database has it. */
export interface MessageRow {
  id: number;
  from_agent: string;
  to_target: string;
  kind: string;
  channel: string | null;
  subject: string | null;
  /** Up to its first NUL, if it has one. */
  body: string;
  /** Length of the whole body in UTF-8; absent for a message that was not read from the database. */
  bytes?: number;
  thread_id: number | null;
  reply_to: number | null;
  claimable: number;
  claimed_by: string | null;
  claimed_instance: string | null;
  claimed_at: number | null;
  claim_expires_at: number | null;
  reply_expected: number;
  timing: "now" | "next" | "idle" | null;
  payload: string | null;
  meta: string | null;
  idempotency_key: string | null;
  created_at: number;
  expires_at: number | null;
}

/** The columns of a message `m`. */
export const COLUMNS = "m.*, octet_length(m.body) AS bytes";

/** Ids of the agents a message is for, and of those that have read it. */
export interface Recipients {
  all: string[];
  read: string[];
}

/** Reads messages from the database, whole and with whom they are for. */
export class StoredMessages {
  readonly #db: RelayDatabase;

  constructor(db: RelayDatabase) {
    this.#db = db;
  }

  /** The row of a message. */
  row(id: number): MessageRow | undefined {
    return this.#db.get<MessageRow>(`SELECT ${COLUMNS} FROM message m WHERE id = ?`, id);
  }

  /** The message with this id. Throws `E_NOT_FOUND`. */
  need(id: number): Message {
    const row = this.row(id);
    if (row === undefined) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
    return this.message(row);
  }

  /**
   * Whom messages are for and who has read them, in the order of their agents' ids, which is that of the table. One query
   * for all, with each message looked up in turn (CROSS JOIN has SQLite keep that).
   */
  recipientsOf(ids: readonly number[]): Map<number, Recipients> {
    const found = new Map<number, Recipients>();
    const rows = this.#db.all<{ message_id: number; agent_id: string; read_at: number | null }>(
      "SELECT message_id, agent_id, read_at FROM json_each(?) CROSS JOIN recipient ON message_id = value",
      JSON.stringify(ids),
    );
    for (const { message_id, agent_id, read_at } of rows) {
      const recipients = found.get(message_id) ?? { all: [], read: [] };
      found.set(message_id, recipients);
      recipients.all.push(agent_id);
      if (read_at !== null) recipients.read.push(agent_id);
    }
    return found;
  }

  /** The whole body, which a row has up to its first NUL. Costs nothing for a text without one that is ASCII. */
  #body({ id, body, bytes }: MessageRow): string {
    if (bytes === undefined || bytes === body.length || bytes === utf8Length(body)) return body;
    const whole = this.#db.get<{ body: Uint8Array }>(
      "SELECT CAST(body AS BLOB) AS body FROM message WHERE id = ?",
      id,
    )!;
    return storedText(whole.body);
  }

  /** Returns the message of a row. `recipients` spares asking for them when they are known. */
  message(row: MessageRow, generation = 0, recipients = this.recipientsOf([row.id]).get(row.id)): Message {
    // Members added one by one: a spread for each copied everything a dozen times.
    const message: Message = {
      id: row.id,
      storeId: this.#db.storeId,
      from: row.from_agent,
      to: row.to_target,
      kind: row.kind,
      body: this.#body(row),
      claimable: row.claimable === 1,
      createdAt: row.created_at,
      recipients: recipients?.all ?? [],
      readBy: recipients?.read ?? [],
    };
    if (row.channel !== null) message.channel = row.channel;
    if (row.subject !== null) message.subject = row.subject;
    if (row.thread_id !== null) message.threadId = row.thread_id;
    if (row.reply_to !== null) message.replyTo = row.reply_to;
    if (row.claimed_by !== null) message.claimedBy = row.claimed_by;
    if (row.claimed_at !== null) message.claimedAt = row.claimed_at;
    if (row.claim_expires_at !== null) message.claimExpiresAt = row.claim_expires_at;
    if (row.reply_expected === 1) message.replyExpected = true;
    if (generation !== 0) message.generation = generation;
    if (row.timing !== null) message.when = row.timing;
    if (row.payload !== null) message.payload = JSON.parse(row.payload);
    if (row.meta !== null) message.meta = JSON.parse(row.meta);
    if (row.expires_at !== null) message.expiresAt = row.expires_at;
    if (row.idempotency_key !== null) message.idempotencyKey = row.idempotency_key;
    return message;
  }
}
