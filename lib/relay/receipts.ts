import type { Receipt, StageReport } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";
import type { MessageStore } from "./messages.ts";

const EVIDENCE_LIMIT = 400;
/** Lines of one receipt that are shown. */
const LINES = 2_000;

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
   * Adds a line. One about a message that is not here is dropped, and so is one that is there already: agents tell
   * again after a crash what they may have told before. `dead` makes the message a dead letter of its agent, unless
   * it speaks of an earlier generation.
   */
  report(report: StageReport): void {
    const { messageId, agentId, stage, deliveryId = null, generation = 0 } = report;
    const at = Math.trunc(report.at);
    // A line that turns out to be known costs its readers one look, which is rarer than asking first.
    if (!this.#messages.touch(messageId)) return;
    const known = deliveryId === null
      ? this.#db.get(
        `SELECT 1 AS one FROM report
         WHERE message_id = ? AND agent_id = ? AND stage = ? AND at = ? AND delivery_id IS NULL`,
        messageId,
        agentId,
        stage,
        at,
      )
      : this.#db.get(
        "SELECT 1 AS one FROM report WHERE message_id = ? AND agent_id = ? AND stage = ? AND delivery_id = ?",
        messageId,
        agentId,
        stage,
        deliveryId,
      );
    if (known !== undefined) return;
    this.#db.run(
      `INSERT INTO report (message_id, agent_id, stage, at, delivery_id, attempt, evidence, generation)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      messageId,
      agentId,
      stage,
      at,
      deliveryId,
      report.attempt ?? null,
      report.evidence?.slice(0, EVIDENCE_LIMIT) ?? null,
      generation,
    );
    if (stage === "dead") {
      this.#db.run(
        "UPDATE recipient SET closed = 2 WHERE message_id = ? AND agent_id = ? AND closed = 0 AND generation = ?",
        messageId,
        agentId,
        generation,
      );
    }
  }

  /** What happened to a message, or undefined when it is not here. */
  receipt(id: number): Receipt | undefined {
    const message = this.#messages.one(id);
    const version = this.#messages.version(id);
    if (message === undefined || version === undefined) return undefined;
    const reports = this.#db.all<ReportRow>(
      "SELECT * FROM report WHERE message_id = ? ORDER BY id LIMIT ?",
      id,
      LINES,
    );
    const recipients = this.#db.all<{ agent_id: string; read_at: number | null; closed: number }>(
      "SELECT agent_id, read_at, closed FROM recipient WHERE message_id = ? ORDER BY agent_id",
      id,
    );
    return {
      message,
      version,
      recipients: recipients.map(({ agent_id, read_at, closed }) => ({
        agentId: agent_id,
        read: read_at !== null,
        ...(closed === 2 ? { dead: true } : {}),
        reports: reports.filter((each) => each.agent_id === agent_id).map((each) => lineOf(id, each)),
      })),
      replies: this.#messages.replies(id),
    };
  }
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
