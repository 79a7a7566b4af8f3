import type { SQLInputValue } from "node:sqlite";
import type { Receipt, StageReport } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";
import type { MessageStore } from "./messages.ts";

const EVIDENCE_LIMIT = 400;
/** Lines of one receipt that are shown. */
const LINES = 2_000;

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

/** What happened to messages: the lines that agents reported and the relay added. */
export class ReceiptStore {
  readonly #db: RelayDatabase;
  readonly #messages: MessageStore;

  constructor(db: RelayDatabase, messages: MessageStore) {
    this.#db = db;
    this.#messages = messages;
  }

  /**
   * Adds lines. One about a message that is not here is dropped, and so is one that is there already: agents tell
   * again after a crash what they may have told before. `dead` makes the message a dead letter of its agent, unless
   * it speaks of an earlier generation.
   */
  report(reports: readonly StageReport[]): void {
    const receipts = new Map<string, StageReport[]>();
    for (const report of reports) {
      const key = `${report.messageId} ${report.agentId}`;
      const lines = receipts.get(key);
      if (lines === undefined) receipts.set(key, [report]);
      else lines.push(report);
    }
    for (const lines of receipts.values()) this.#add(lines);
  }

  /** Adds lines of one message and agent. */
  #add(reports: readonly StageReport[]): void {
    const { messageId, agentId } = reports[0]!;
    const known = this.#db.all<
      { line: number | null; stage: string; at: number; delivery_id: string | null }
    >(
      `SELECT p.line, p.stage, p.at, p.delivery_id FROM message m
       LEFT JOIN report p ON p.message_id = m.id AND p.agent_id = ? WHERE m.id = ? ORDER BY p.line`,
      agentId,
      messageId,
    );
    // Lines go with their message.
    if (known.length === 0) return;
    // A message without lines comes with one that is not there, which is like no other.
    const lines = new Set(known.map((row) => identityOf(row.stage, row.at, row.delivery_id)));
    let line = known.at(-1)!.line ?? 0;
    const values: SQLInputValue[] = [];
    for (const report of reports) {
      const { stage, deliveryId = null, generation = 0 } = report;
      const at = Math.trunc(report.at);
      const identity = identityOf(stage, at, deliveryId);
      if (lines.has(identity)) continue;
      lines.add(identity);
      const evidence = report.evidence?.slice(0, EVIDENCE_LIMIT) ?? null;
      values.push(
        messageId,
        agentId,
        ++line,
        stage,
        at,
        deliveryId,
        report.attempt ?? null,
        evidence,
        generation,
      );
      if (stage === "dead") this.#bury(messageId, agentId, generation);
      if (values.length === COLUMNS * ROWS) this.#insert(values.splice(0));
    }
    if (values.length > 0) this.#insert(values);
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
    const reports = this.#db.all<ReportRow>(
      "SELECT * FROM report WHERE message_id = ? ORDER BY agent_id, line LIMIT ?",
      id,
      LINES,
    );
    const recipients = this.#db.all<{ agent_id: string; read_at: number | null; closed: number }>(
      "SELECT agent_id, read_at, closed FROM recipient WHERE message_id = ? ORDER BY agent_id",
      id,
    );
    return {
      message,
      version: this.#version(id),
      recipients: recipients.map(({ agent_id, read_at, closed }) => ({
        agentId: agent_id,
        read: read_at !== null,
        ...(closed === 2 ? { dead: true } : {}),
        reports: reports.filter((each) => each.agent_id === agent_id).map((each) => lineOf(id, each)),
      })),
      replies: this.#messages.replies(id, agentId),
    };
  }

  /**
   * Rises with every line, reader and reply. Counted when somebody asks, which is rare: a counter in the message's row
   * would write the whole message anew for every line.
   */
  #version(id: number): number {
    const { version } = this.#db.get<{ version: number }>(
      `SELECT 1 + (SELECT count(*) FROM report WHERE message_id = ?1)
         + (SELECT count(read_at) FROM recipient WHERE message_id = ?1) AS version`,
      id,
    )!;
    return version + this.#messages.answers(id);
  }
}

/** Two lines with one identity say the same. */
function identityOf(stage: string, at: number, deliveryId: string | null): string {
  return deliveryId === null ? `${stage} at ${at}` : `${stage} of ${deliveryId}`;
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
