import { RunnerError } from "../base/errors.ts";
import { parseTarget } from "../protocol/ids.ts";
import type { Message, SendInput, SendResult } from "../protocol/message.ts";
import type { AgentDirectory } from "./agents.ts";
import type { RelayDatabase } from "./database.ts";
import { COLUMNS, type MessageRow, StoredMessages } from "./stored_messages.ts";
import { type Unreadable, weigh } from "./unreadable.ts";

/** Undelivered mail is kept for so long. */
export const KEEP_MS = 7 * 86_400_000;
/** Bytes of one page of unread messages; a client reads 4 MiB. */
const PAGE_BYTES = 2 * 1024 * 1024;
/** Recipients whose mail is closed in one step when its time is over. */
const EXPIRE_STEP = 1_000;

/** Mail whose time is over, and the wall time up to which there is no other. */
export interface Expired {
  mail: { messageId: number; agentId: string }[];
  through: number;
}

/** True of a message `m` that the agent ?2 sent, or that was sent to it; also when ?2 is null, who may see all. */
const VISIBLE =
  `(?2 IS NULL OR m.from_agent = ?2 OR (m.to_target = ?2 AND m.to_target <> 'broadcast') OR EXISTS (
  SELECT 1 FROM recipient v WHERE v.message_id = m.id AND v.agent_id = ?2))`;

/**
 * True of a message `m` that answers the message ?1: whoever knows an id could send something into its thread, but only
 * those it was sent to are asked. One who is no agent (a shell, a script) is no recipient, and named by the target.
 */
const ANSWERS = `m.reply_to = ?1 AND (
  EXISTS (SELECT 1 FROM recipient a WHERE a.message_id = ?1 AND a.agent_id = m.from_agent) OR
  EXISTS (SELECT 1 FROM message q WHERE q.id = ?1 AND q.to_target = m.from_agent AND q.to_target <> 'broadcast'))`;

/** Messages and their recipients. Methods that change something run inside a group commit. */
export class MessageStore {
  readonly #db: RelayDatabase;
  readonly #stored: StoredMessages;
  readonly #agents: AgentDirectory;
  readonly #unreadable: (found: Unreadable) => void;

  /** `unreadable` is called for what was found and is not handed out; must not throw. */
  constructor(db: RelayDatabase, agents: AgentDirectory, unreadable: (found: Unreadable) => void = () => {}) {
    this.#db = db;
    this.#stored = new StoredMessages(db);
    this.#agents = agents;
    this.#unreadable = unreadable;
  }

  /**
   * Stores a message with the recipients of this moment. `by` is the agent whose token sends it, null for the operator: an
   * agent replies to what it can see, and learns nothing of the rest. Throws `E_NO_RECIPIENT`, `E_UNPROCESSABLE`.
   */
  send(input: SendInput, now: number, by: string | null = null): SendResult {
    if (input.idempotencyKey !== undefined) {
      const known = this.#db.get<{ id: number }>(
        "SELECT id FROM message WHERE from_agent = ? AND idempotency_key = ?",
        input.from,
        input.idempotencyKey,
      );
      if (known) {
        return {
          message: this.#stored.need(known.id),
          duplicate: true,
          recipients: this.recipients(known.id),
        };
      }
    }
    const target = parseTarget(input.to);
    if (target === null) {
      throw new RunnerError("E_UNPROCESSABLE", `"${input.to.slice(0, 80)}" is no target`, {
        hint: "use an agent id, broadcast, label:X, tag:X or cap:X",
      });
    }
    const parent = input.replyTo === undefined || (by !== null && !this.visible(input.replyTo, by))
      ? undefined
      : this.#stored.row(input.replyTo);
    if (input.replyTo !== undefined && parent === undefined) {
      throw new RunnerError("E_UNPROCESSABLE", `message ${input.replyTo} to reply to is not here`);
    }
    const recipients = this.#agents.match(target, now, input.from);
    // A reply to somebody who is no agent (a shell, a script) is kept in the thread, where it is waited for.
    const intoThread = parent !== undefined && parent.from_agent === input.to && recipients.length === 0;
    if (recipients.length === 0 && !intoThread && input.queue !== true) {
      throw new RunnerError("E_NO_RECIPIENT", `nobody is there for "${input.to.slice(0, 80)}"`);
    }
    if (recipients.length === 0 && input.queue === true && target.kind === "agent") {
      recipients.push(target.value);
    }
    const row: Omit<MessageRow, "id"> = {
      from_agent: input.from,
      to_target: input.to,
      kind: input.kind ?? "chat",
      channel: input.channel ?? null,
      subject: input.subject ?? null,
      // As UTF-8 keeps it, so that it is pushed as it is read later.
      body: input.body.toWellFormed(),
      thread_id: parent === undefined ? null : parent.thread_id ?? parent.id,
      reply_to: input.replyTo ?? null,
      claimable: input.claimable === true ? 1 : 0,
      claimed_by: null,
      claimed_instance: null,
      claimed_at: null,
      claim_expires_at: null,
      reply_expected: input.replyExpected === true ? 1 : 0,
      timing: input.when ?? null,
      payload: input.payload === undefined ? null : JSON.stringify(input.payload),
      meta: input.meta === undefined ? null : JSON.stringify(input.meta),
      idempotency_key: input.idempotencyKey ?? null,
      created_at: now,
      expires_at: now + Math.ceil(Math.max(1_000, Math.min(input.ttlMs ?? KEEP_MS, 30 * 86_400_000))),
    };
    const { id } = this.#db.run(
      `INSERT INTO message (from_agent, to_target, kind, channel, subject, body, thread_id, reply_to, claimable,
         reply_expected, timing, payload, meta, idempotency_key, created_at, expires_at, pending)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.from_agent,
      row.to_target,
      row.kind,
      row.channel,
      row.subject,
      row.body,
      row.thread_id,
      row.reply_to,
      row.claimable,
      row.reply_expected,
      row.timing,
      row.payload,
      row.meta,
      row.idempotency_key,
      row.created_at,
      row.expires_at,
      recipients.length === 0 && !intoThread ? 1 : 0,
    );
    for (const agentId of recipients) this.#addRecipient(id, agentId);
    // As it will be read: the order of its recipients is that of their ids.
    const message = this.#stored.message({ id, ...row }, 0, { all: recipients.toSorted(), read: [] });
    return { message, duplicate: false, recipients };
  }

  #addRecipient(messageId: number, agentId: string): void {
    this.#db.run("INSERT OR IGNORE INTO recipient (message_id, agent_id) VALUES (?, ?)", messageId, agentId);
  }

  /** Gives mail that waited for a first recipient to an agent that just came. */
  adopt(agentId: string): void {
    // A group is not its sender, as when it is sent.
    const waiting = this.#db.all<{ id: number }>(
      `SELECT m.id FROM json_each(?) CROSS JOIN message m ON m.to_target = value
       WHERE m.pending = 1 AND (m.to_target = ? OR m.from_agent <> ?)`,
      JSON.stringify(this.#agents.targetsOf(agentId)),
      agentId,
      agentId,
    );
    for (const { id } of waiting) {
      this.#addRecipient(id, agentId);
      this.#db.run("UPDATE message SET pending = 0 WHERE id = ?", id);
    }
  }

  /**
   * Marks a message read by an agent; work that was read is done and is not offered to anybody again. Throws
   * `E_CONFLICT` when another agent holds the claim, `E_NOT_FOUND` when the message is gone.
   */
  read(id: number, agentId: string, now: number): void {
    const row = this.#db.get<
      Pick<MessageRow, "claimable" | "claimed_by" | "claim_expires_at"> & { closed: number | null }
    >(
      `SELECT m.claimable, m.claimed_by, m.claim_expires_at, r.closed
       FROM message m LEFT JOIN recipient r ON r.message_id = m.id AND r.agent_id = ? WHERE m.id = ?`,
      agentId,
      id,
    );
    if (row === undefined) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
    if (row.closed === null) throw new RunnerError("E_FORBIDDEN", `message ${id} is not for ${agentId}`);
    // A dead letter that its agent has done after all (it crashed before its journal knew of the death) has ended.
    if (row.closed === 1) return;
    if (row.claimable === 1) {
      // A lease that is over is taken from its holder within a second.
      const held = row.claimed_by !== null && row.claim_expires_at !== null;
      if (held && row.claimed_by !== agentId) {
        throw new RunnerError("E_CONFLICT", `message ${id} is held by ${row.claimed_by}`);
      }
      this.#db.run("UPDATE recipient SET closed = 1 WHERE message_id = ?", id);
      this.#db.run("UPDATE message SET claimed_by = ?, claim_expires_at = NULL WHERE id = ?", agentId, id);
    }
    this.#db.run(
      "UPDATE recipient SET read_at = ?, closed = 1 WHERE message_id = ? AND agent_id = ?",
      now,
      id,
      agentId,
    );
  }

  /**
   * Closes mail that nobody took in time, of what ended after `since`; returns whose it was, and until when everything is
   * closed now, which is the next `since`. From 0 on, all that is kept of the last weeks is looked at. Work that somebody
   * holds is being done in time: {@linkcode expireFreed} is for what becomes of it. Claims whose lease is over must have
   * been ended before.
   */
  expireMessages(now: number, since: number): Expired {
    const late = this.#db.all<{ id: number; agent_id: string }>(
      `SELECT m.id, r.agent_id FROM message m JOIN recipient r ON r.message_id = m.id
       WHERE m.expires_at > ? AND m.expires_at <= ? AND r.closed = 0 AND m.claim_expires_at IS NULL LIMIT ?`,
      since,
      now,
      EXPIRE_STEP,
    );
    this.#db.run("UPDATE message SET pending = 0 WHERE pending = 1 AND expires_at <= ?", now);
    return { mail: this.#close(late), through: late.length < EXPIRE_STEP ? now : since };
  }

  /** Closes, of messages that nobody holds any more, those whose time was over meanwhile; returns whose they were. */
  expireFreed(ids: readonly number[], now: number): Expired["mail"] {
    return ids.flatMap((id) =>
      this.#close(this.#db.all<{ id: number; agent_id: string }>(
        `SELECT m.id, r.agent_id FROM message m JOIN recipient r ON r.message_id = m.id
         WHERE m.id = ? AND m.expires_at <= ? AND r.closed = 0`,
        id,
        now,
      ))
    );
  }

  #close(late: readonly { id: number; agent_id: string }[]): Expired["mail"] {
    for (const { id, agent_id } of late) {
      this.#db.run("UPDATE recipient SET closed = 1 WHERE message_id = ? AND agent_id = ?", id, agent_id);
    }
    return late.map(({ id, agent_id }) => ({ messageId: id, agentId: agent_id }));
  }

  /** When the time of the next message is over, whether it waits or not. */
  nextExpiry(now: number): number {
    const { at } = this.#db.get<{ at: number | null }>(
      "SELECT min(expires_at) AS at FROM message WHERE expires_at > ?",
      now,
    )!;
    return at ?? Infinity;
  }

  /** True when the message is stored. */
  exists(id: number): boolean {
    return this.#db.get("SELECT 1 AS one FROM message WHERE id = ?", id) !== undefined;
  }

  /** A message, or undefined. */
  one(id: number): Message | undefined {
    const row = this.#stored.row(id);
    return row === undefined ? undefined : this.#stored.message(row);
  }

  /** A message as one recipient gets it, undefined when it need not get it (any more). */
  offer(id: number, agentId: string): Message | undefined {
    const row = this.#db.get<MessageRow & { generation: number }>(
      `SELECT ${COLUMNS}, r.generation FROM recipient r JOIN message m ON m.id = r.message_id
       WHERE r.message_id = ? AND r.agent_id = ? AND r.closed = 0`,
      id,
      agentId,
    );
    if (row === undefined) return undefined;
    const message = this.#stored.message(row, row.generation);
    return this.#weigh(message, agentId) === null ? undefined : message;
  }

  /** Bytes of a message as it is sent, null when it cannot be. */
  #weigh(message: Message, agentId: string): number | null {
    const found = weigh(message);
    if (!("reason" in found)) return found.bytes;
    const { id, generation = 0 } = message;
    this.#unreadable({ messageId: id, agentId, generation, reason: found.reason });
    return null;
  }

  /** Agent ids the message was stored for. */
  recipients(id: number): string[] {
    return this.#db.all<{ agent_id: string }>(
      "SELECT agent_id FROM recipient WHERE message_id = ? ORDER BY agent_id",
      id,
    ).map((row) => row.agent_id);
  }

  /** Recipients that still have to get the message. */
  waiting(id: number): string[] {
    return this.#db.all<{ agent_id: string }>(
      "SELECT agent_id FROM recipient WHERE message_id = ? AND closed = 0",
      id,
    ).map((row) => row.agent_id);
  }

  /**
   * Messages an agent has not read, by id above `sinceId`: at most `limit` and 2 MiB as they are sent, but at least
   * one. Work that another agent holds is left out. `more` when there are further ones.
   */
  unread(
    agentId: string,
    sinceId: number,
    limit: number,
  ): { messages: Message[]; more: boolean } {
    const messages: Message[] = [];
    let bytes = 0;
    for (let since = sinceId;;) {
      const found = this.#db.each<MessageRow & { generation: number }>(
        `SELECT ${COLUMNS}, r.generation FROM recipient r JOIN message m ON m.id = r.message_id
         WHERE r.agent_id = ? AND r.closed = 0 AND r.message_id > ?
           AND (m.claimable = 0 OR m.claimed_by IS NULL OR m.claimed_by = ?)
         ORDER BY r.message_id LIMIT ?`,
        agentId,
        since,
        agentId,
        limit,
      );
      const rows: (MessageRow & { generation: number })[] = [];
      let stored = 0;
      let end = true;
      for (const row of found) {
        // As JSON a message has no fewer bytes than as it is stored: what will not be in the page is not read.
        if (stored > PAGE_BYTES || rows.length + 1 === limit) end = false;
        if (stored > PAGE_BYTES) break;
        stored += (row.bytes ?? 0) + (row.payload?.length ?? 0) + (row.meta?.length ?? 0);
        rows.push(row);
      }
      const recipients = this.#stored.recipientsOf(rows.map(({ id }) => id));
      for (const row of rows) {
        const message = this.#stored.message(row, row.generation, recipients.get(row.id));
        const size = this.#weigh(message, agentId);
        if (size === null) continue;
        bytes += size;
        if (messages.length > 0 && bytes > PAGE_BYTES) return { messages, more: true };
        messages.push(message);
      }
      // A page without messages says that there are none: it does not end with what cannot be handed out.
      if (messages.length > 0 || end) return { messages, more: !end };
      since = rows.at(-1)!.id;
    }
  }

  /** Id of the newest message. */
  cursor(): number {
    return this.#db.get<{ id: number | null }>("SELECT max(id) AS id FROM message")?.id ?? 0;
  }

  /** True when the message is here and the agent sent it or was sent it; null stands for the operator, who sees all. */
  visible(id: number, agentId: string | null): boolean {
    const sql = `SELECT 1 AS one FROM message m WHERE m.id = ?1 AND ${VISIBLE}`;
    return this.#db.get(sql, id, agentId) !== undefined;
  }

  /** What one agent may see of a thread, or the operator (null) of it, oldest first. */
  thread(id: number, agentId: string | null): Message[] {
    const row = this.#stored.row(id);
    if (row === undefined) return [];
    return this.#db.all<MessageRow>(
      `SELECT ${COLUMNS} FROM message m WHERE (m.id = ?1 OR m.thread_id = ?1) AND ${VISIBLE} ORDER BY m.id LIMIT 500`,
      row.thread_id ?? row.id,
      agentId,
    ).map((each) => this.#stored.message(each));
  }

  /** The answers to a message that one agent may see, or the operator (null), oldest first. */
  replies(id: number, agentId: string | null): Message[] {
    return this.#db.all<MessageRow>(
      `SELECT ${COLUMNS} FROM message m WHERE ${ANSWERS} AND ${VISIBLE} ORDER BY m.id LIMIT 100`,
      id,
      agentId,
    ).map((each) => this.#stored.message(each));
  }

  /** How many answers a message has. */
  answers(id: number): number {
    return this.#db.get<{ count: number }>(`SELECT count(*) AS count FROM message m WHERE ${ANSWERS}`, id)!
      .count;
  }
}
