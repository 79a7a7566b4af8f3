import { DatabaseSync } from "node:sqlite";

/** What the relay's database says of a message at one recipient. */
export interface Recipient {
  agent: string;
  readAt: number | null;
  closed: boolean;
  dead: boolean;
}

/** One message as the relay stored it. */
export interface StoredMessage {
  id: number;
  mark: string;
  claimable: boolean;
  recipients: Recipient[];
}

/** The relay's durable record, read after the relay has ended. */
export function readRelay(path: string): { storeId: string; messages: Map<string, StoredMessage> } {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const storeId =
      (db.prepare("SELECT value FROM fact WHERE name = 'storeId'").get() as { value: string }).value;
    const messages = new Map<string, StoredMessage>();
    const byId = new Map<number, StoredMessage>();
    const rows = db.prepare(
      "SELECT id, idempotency_key AS mark, claimable FROM message WHERE idempotency_key LIKE 'mark-%'",
    ).all() as { id: number; mark: string; claimable: number }[];
    for (const { id, mark, claimable } of rows) {
      const message = { id, mark, claimable: claimable === 1, recipients: [] };
      messages.set(mark, message);
      byId.set(id, message);
    }
    const recipients = db.prepare(
      `SELECT message_id AS id, agent_id AS agent, read_at AS readAt, closed,
         EXISTS (SELECT 1 FROM report WHERE report.message_id = recipient.message_id
           AND report.agent_id = recipient.agent_id AND stage = 'dead') AS dead FROM recipient`,
    ).all() as { id: number; agent: string; readAt: number | null; closed: number; dead: number }[];
    for (const { id, agent, readAt, closed, dead } of recipients) {
      byId.get(id)?.recipients.push({ agent, readAt, closed: closed === 1, dead: dead === 1 });
    }
    return { storeId, messages };
  } finally {
    db.close();
  }
}
