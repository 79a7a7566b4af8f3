import type { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../base/errors.ts";
import { schemaVersionOf } from "../base/schema_version.ts";

/** Version of the relay's schema. A newer one is never opened. */
export const RELAY_SCHEMA = 3;

const TABLES = `
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  from_agent TEXT NOT NULL, to_target TEXT NOT NULL, kind TEXT NOT NULL, channel TEXT, subject TEXT,
  body TEXT NOT NULL, thread_id INTEGER, reply_to INTEGER,
  claimable INTEGER NOT NULL, claimed_by TEXT, claimed_instance TEXT, claimed_at INTEGER, claim_expires_at INTEGER,
  reply_expected INTEGER NOT NULL, timing TEXT, payload TEXT, meta TEXT, idempotency_key TEXT,
  created_at INTEGER NOT NULL, expires_at INTEGER,
  -- 1 while it waits for a first recipient (sent with queue).
  pending INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX message_key ON message (from_agent, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX message_thread ON message (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX message_reply ON message (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX message_claim ON message (claim_expires_at) WHERE claim_expires_at IS NOT NULL;
CREATE INDEX message_expiry ON message (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX message_pending ON message (id) WHERE pending = 1;
CREATE TABLE recipient (
  message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
  agent_id TEXT NOT NULL,
  read_at INTEGER,
  -- 0 open; 1 ended: read, done by another agent, expired or dropped; 2 a dead letter.
  closed INTEGER NOT NULL DEFAULT 0,
  -- How often the dead letter was opened again.
  generation INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (message_id, agent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_unread ON recipient (agent_id, message_id) WHERE closed = 0;
CREATE INDEX recipient_dead ON recipient (message_id, agent_id) WHERE closed = 2;
CREATE TABLE report (
  message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE, agent_id TEXT NOT NULL,
  -- The order in which the lines of this message and agent came, from 1.
  line INTEGER NOT NULL,
  stage TEXT NOT NULL, at INTEGER NOT NULL,
  delivery_id TEXT, attempt INTEGER, evidence TEXT, generation INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (message_id, agent_id, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE agent (
  id TEXT PRIMARY KEY, component_id TEXT NOT NULL, role TEXT NOT NULL, label TEXT, machine TEXT NOT NULL,
  tags TEXT NOT NULL, capabilities TEXT NOT NULL, status TEXT NOT NULL, ready INTEGER NOT NULL,
  instance_id TEXT NOT NULL, epoch INTEGER NOT NULL, meta TEXT NOT NULL,
  -- What the newest status said; replaced whole, so that an old reason does not stay.
  status_meta TEXT NOT NULL DEFAULT '{}',
  last_seen INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_component ON agent (component_id);
CREATE TABLE command (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, target TEXT NOT NULL, source TEXT, params TEXT NOT NULL,
  status TEXT NOT NULL, result TEXT, error TEXT, correlation_id TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX command_ended ON command (updated_at) WHERE status NOT IN ('pending', 'accepted', 'running');
CREATE INDEX command_open ON command (target) WHERE status IN ('pending', 'accepted', 'running');
`;

/** Came later, and needs no version of its own: whoever knows the tables keeps them up. */
const INDEXES = "CREATE INDEX IF NOT EXISTS message_waiting ON message (to_target) WHERE pending = 1";

/** What each version needs to become the next one. */
const UPGRADES: Readonly<Record<number, string>> = {
  1: `
ALTER TABLE recipient ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE report ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_dead ON recipient (message_id, agent_id) WHERE closed = 2;
CREATE INDEX command_ended ON command (updated_at) WHERE status NOT IN ('pending', 'accepted', 'running');
`,
  // A receipt's version is counted from its lines, which are found by message and agent.
  2: `
ALTER TABLE report RENAME TO report_2;
DROP INDEX report_message;
CREATE TABLE report (
  message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE, agent_id TEXT NOT NULL,
  line INTEGER NOT NULL,
  stage TEXT NOT NULL, at INTEGER NOT NULL,
  delivery_id TEXT, attempt INTEGER, evidence TEXT, generation INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (message_id, agent_id, line)
) STRICT, WITHOUT ROWID;
INSERT INTO report (message_id, agent_id, line, stage, at, delivery_id, attempt, evidence, generation)
  SELECT message_id, agent_id, row_number() OVER (PARTITION BY message_id, agent_id ORDER BY id), stage, at,
    delivery_id, attempt, evidence, generation FROM report_2;
DROP TABLE report_2;
ALTER TABLE message DROP COLUMN version;
DROP INDEX message_thread;
CREATE INDEX message_thread ON message (thread_id) WHERE thread_id IS NOT NULL;
`,
};

function refuse(version: number | null, path: string): void {
  if (version === null || version <= RELAY_SCHEMA) return;
  throw new RunnerError("E_STATE", `relay database version ${version} is newer than this runner`, {
    where: path,
    hint: "update this runner, or use another AGENT_RELAY_HOME",
  });
}

/** Throws `E_STATE` for a database of a newer version without touching it. */
export function refuseNewerRelay(path: string): void {
  refuse(schemaVersionOf(path), path);
}

/**
 * Brings a database to {@linkcode RELAY_SCHEMA}. Throws `E_STATE` for a newer one, which is left untouched: the
 * caller then waits as a client for whoever understands it.
 */
export function prepareRelaySchema(db: DatabaseSync, path: string): void {
  const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
  refuse(version, path);
  // One process only: two relays on one file would not see each other's agents. A log of 2 MiB and not of 4: on a
  // small disk a log that is folded in late is what fills it, and stays.
  db.exec(
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; " +
      "PRAGMA wal_autocheckpoint = 512; PRAGMA journal_size_limit = 2097152; " +
      // The pages that a statement may have to take back are copied to memory and not to a file.
      "PRAGMA temp_store = MEMORY",
  );
  if (version !== RELAY_SCHEMA) {
    let work = version === 0 ? TABLES : "";
    for (let from = version; from > 0 && from < RELAY_SCHEMA; from++) work += UPGRADES[from] ?? "";
    db.exec(`BEGIN IMMEDIATE; ${work} PRAGMA user_version = ${RELAY_SCHEMA}; COMMIT`);
  }
  db.exec(INDEXES);
}
