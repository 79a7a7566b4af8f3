import type { SQLInputValue } from "node:sqlite";
import { shown } from "../base/errors.ts";
import type { Receipt, StageReport } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";
import type { MessageStore } from "./messages.ts";

const EVIDENCE_LIMIT = 400;
/** Lines kept of one message and recipient, and about how many of one receipt are shown. */
const KEPT = 100;
const LINES = 2_000;
/** Lines that are kept from the beginning, of those and of however few are shown. */
const HEAD = 4;
/** A clock this far off is wrong. */
const ODD_MS = 86_400_000;

const COLUMNS = 9;
/** Lines of one insert at most. */
const ROWS = 8;
/** The insert of so many lines. */
const INSERTS = Array.from(
  { length: ROWS + 1 },
  (_, rows) =>
    "INSERT INTO report (message_id, agent_id, line, stage, at, delivery_id, attempt, evidence, generation) VALUES " +
    Array(rows).fill(`(${Array(COLUMNS).fill("?").join(", ")})`).join(", "),
);

interface ReportRow {
  agent_id: string;
  stage: string;
  at: number;
  delivery_id: string | null;
  attempt: number | null;
  evidence: string | null;
  generation: number;
}

/** What tells one line of a message and agent from another. */
type Identifying = "stage" | "at" | "delivery_id" | "attempt" | "generation";

/** What happened to messages: the lines that agents reported and the relay added. */
export class ReceiptStore {
  readonly #db: RelayDatabase;
  readonly #messages: MessageStore;

  constructor(db: RelayDatabase, messages: MessageStore) {
    this.#db = db;
    this.#messages = messages;
  }

  /**
   * Adds lines and returns those that were taken. Only who was sent a message has something to say of it: a line of another
   * agent is left out, as is one about a message that is not here, since agents tell of many messages at once and what is
   * wrong with one is not the others' fault. So is one that is there already: agents tell again after a crash what they may
   * have told before. `dead` makes the message a dead letter of its agent, unless it speaks of an earlier generation.
   */
  report(reports: readonly StageReport[], now: number): StageReport[] {
    const receipts = Map.groupBy(reports, ({ messageId, agentId }) => `${messageId} ${agentId}`);
    return [...receipts.values()].flatMap((lines) => this.#add(lines, now));
  }

  /** Adds lines of one message and agent. */
  #add(reports: readonly StageReport[], now: number): StageReport[] {
    const { messageId, agentId } = reports[0]!;
    const known = this.#db.all<Pick<ReportRow, Identifying> & { created_at: number; line: number | null }>(
      `SELECT m.created_at, p.line, p.stage, p.at, p.delivery_id, p.attempt, p.generation
       FROM recipient r JOIN message m ON m.id = r.message_id
       LEFT JOIN report p ON p.message_id = r.message_id AND p.agent_id = r.agent_id
       WHERE r.message_id = ? AND r.agent_id = ? ORDER BY p.line`,
      messageId,
      agentId,
    );
    const [first] = known;
    if (first === undefined) return [];
    // A message without lines comes with one that is not there, which is like no other.
    const lines = new Set(known.map(identityOf));
    let line = known.at(-1)!.line ?? 0;
    const values: SQLInputValue[] = [];
    const taken: StageReport[] = [];
    for (const report of reports) {
      const { stage, deliveryId = null, attempt = null, generation = 0 } = report;
      const at = sane(report.at, first.created_at, now);
      const identity = identityOf({ stage, at, delivery_id: deliveryId, attempt, generation });
      if (lines.has(identity)) continue;
      lines.add(identity);
      const evidence = report.evidence === undefined ? null : shown(report.evidence, EVIDENCE_LIMIT);
      taken.push({ ...report, at, ...(evidence === null ? {} : { evidence }) });
      values.push(
        messageId,
        agentId,
        ++line,
        stage,
        at,
        deliveryId,
        attempt,
        evidence,
        generation,
      );
      if (stage === "dead") this.#bury(messageId, agentId, generation);
      if (values.length === COLUMNS * ROWS) this.#insert(values.splice(0));
    }
    if (values.length > 0) this.#insert(values);
    if (lines.size > KEPT) this.#thin(messageId, agentId);
    return taken;
  }

  /** Removes lines beyond the bound, so that no agent can fill the relay with what it says of one message. */
  #thin(messageId: number, agentId: string): void {
    const all = this.#db.all<{ line: number; stage: string }>(
      "SELECT line, stage FROM report WHERE message_id = ? AND agent_id = ? ORDER BY line",
      messageId,
      agentId,
    );
    const kept = new Set(thinned(all, KEPT));
    for (const each of all) {
      if (kept.has(each)) continue;
      this.#db.run(
        "DELETE FROM report WHERE message_id = ? AND agent_id = ? AND line = ?",
        messageId,
        agentId,
        each.line,
      );
    }
  }

  #insert(values: SQLInputValue[]): void {
    this.#db.run(INSERTS[values.length / COLUMNS]!, ...values);
  }

  #bury(messageId: number, agentId: string, generation: number): void {
    this.#db.run(
      "UPDATE recipient SET closed = 2 WHERE message_id = ? AND agent_id = ? AND closed = 0 AND generation = ?",
      messageId,
      agentId,
      generation,
    );
  }

  /** What happened to a message, or undefined when it is not here. Of the answers, those that the agent may see. */
  receipt(id: number, agentId: string | null = null): Receipt | undefined {
    const message = this.#messages.one(id);
    if (message === undefined) return undefined;
    const reports = Map.groupBy(
      this.#db.all<ReportRow>("SELECT * FROM report WHERE message_id = ? ORDER BY agent_id, line", id),
      (row) => row.agent_id,
    );
    const recipients = this.#db.all<{ agent_id: string; read_at: number | null; closed: number }>(
      "SELECT agent_id, read_at, closed FROM recipient WHERE message_id = ? ORDER BY agent_id",
      id,
    );
    // As many of each, so that nobody's lines are missing because of another's.
    const most = Math.min(KEPT, Math.floor(LINES / recipients.length));
    return {
      message,
      version: this.#version(id),
      recipients: recipients.map(({ agent_id, read_at, closed }) => ({
        agentId: agent_id,
        read: read_at !== null,
        ...(closed === 2 ? { dead: true } : {}),
        reports: thinned(reports.get(agent_id) ?? [], most).map((each) => lineOf(id, each)),
      })),
      replies: this.#messages.replies(id, agentId),
    };
  }

  /**
   * Rises with every line, reader and reply. Counted when somebody asks, which is rare: a counter in the message's row
   * would write the whole message anew for every line. The number of an agent's newest line is that of all it ever had.
   */
  #version(id: number): number {
    const { version } = this.#db.get<{ version: number }>(
      `SELECT 1 + count(read_at) + coalesce(sum((
         SELECT max(line) FROM report p WHERE p.message_id = r.message_id AND p.agent_id = r.agent_id)), 0) AS version
       FROM recipient r WHERE message_id = ?`,
      id,
    )!;
    return version + this.#messages.answers(id);
  }
}

/**
 * At most `most` of what happened, in its order: how it began, the newest, and in any case the newest line of each stage,
 * of which there are few, so that no number of others hides how it ended.
 */
function thinned<T extends { stage: string }>(lines: readonly T[], most: number): readonly T[] {
  if (lines.length <= most) return lines;
  const newest = new Map(lines.map((line, index) => [line.stage, index]));
  const kept = new Set(newest.values());
  for (let i = 0; i < HEAD && kept.size < most; i++) kept.add(i);
  for (let i = lines.length - 1; kept.size < most; i--) kept.add(i);
  return lines.filter((_, index) => kept.has(index));
}

/**
 * A time that is right, or that of a clock no more than a day off; else the relay's own, of the message or of this moment. An
 * agent that was away tells of what it did long ago, but of no message before there was one.
 */
function sane(at: number, createdAt: number, now: number): number {
  if (at > now + ODD_MS) return now;
  return at < createdAt - ODD_MS ? createdAt : Math.trunc(at);
}

/** Two lines with one identity say the same. An agent whose clock is wrong says everything at one time. */
function identityOf({ stage, at, delivery_id, attempt, generation }: Pick<ReportRow, Identifying>): string {
  return delivery_id === null ? `${stage} ${generation}/${attempt} at ${at}` : `${stage} of ${delivery_id}`;
}

function lineOf(messageId: number, row: ReportRow): StageReport {
  return {
    messageId,
    agentId: row.agent_id,
    stage: row.stage as StageReport["stage"],
    at: row.at,
    ...(row.delivery_id === null ? {} : { deliveryId: row.delivery_id }),
    ...(row.attempt === null ? {} : { attempt: row.attempt }),
    ...(row.generation === 0 ? {} : { generation: row.generation }),
    ...(row.evidence === null ? {} : { evidence: row.evidence }),
  };
}
