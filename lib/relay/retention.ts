import type { RelayDatabase } from "./database.ts";
import type { MessageStore } from "./messages.ts";

/** A message that has ended at all its recipients is kept, with its receipt, so long after its time to live. */
const KEEP_MS = 7 * 86_400_000;
/** And only as long as it is among this many newest ones. */
const KEEP_MESSAGES = 50_000;
/** Messages looked at in one step. */
const STEP = 500;

/**
 * Removes what nobody will ask for again: messages that were read, dropped or expired everywhere, and commands that
 * ended. Mail that waits and dead letters stay, whatever their age. Every step does a bounded piece of work, inside a
 * group commit.
 */
export class Retention {
  readonly #db: RelayDatabase;
  readonly #messages: MessageStore;
  readonly #keepMessages: number;
  /** Where the next step goes on; 0 begins anew. */
  #cursor = 0;

  constructor(db: RelayDatabase, messages: MessageStore, keepMessages = KEEP_MESSAGES) {
    this.#db = db;
    this.#messages = messages;
    this.#keepMessages = keepMessages;
  }

  /** True while there are messages that this pass has not looked at yet. */
  get underWay(): boolean {
    return this.#cursor !== 0;
  }

  /** Returns how many messages were removed; when there were any, the next step should follow soon. */
  step(now: number): number {
    const newestGone = this.#messages.cursor() - this.#keepMessages;
    const oldest = now - KEEP_MS;
    const rows = this.#db.all<{ id: number; created_at: number; expires_at: number; ended: number }>(
      `SELECT m.id, m.created_at, coalesce(m.expires_at, m.created_at) AS expires_at, m.pending = 0 AND NOT EXISTS (
         SELECT 1 FROM recipient r WHERE r.message_id = m.id AND r.closed <> 1) AS ended
       FROM message m WHERE m.id > ? ORDER BY m.id LIMIT ?`,
      this.#cursor,
      STEP,
    );
    let removed = 0;
    for (const { id, created_at, expires_at, ended } of rows) {
      if (id > newestGone && created_at > oldest) {
        this.#cursor = 0;
        return removed + this.#commands(oldest);
      }
      this.#cursor = id;
      if (ended === 0 || (id > newestGone && expires_at > oldest)) continue;
      this.#db.run("DELETE FROM message WHERE id = ?", id);
      removed++;
    }
    if (rows.length < STEP) this.#cursor = 0;
    return removed + this.#commands(oldest);
  }

  #commands(oldest: number): number {
    return this.#db.run(
      `DELETE FROM command WHERE id IN (SELECT id FROM command
         WHERE status NOT IN ('pending', 'accepted', 'running') AND updated_at < ? LIMIT ?)`,
      oldest,
      STEP,
    ).changes;
  }
}
