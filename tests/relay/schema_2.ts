/** The tables of a relay database of version 2, as its relays made them. */
export const SCHEMA_2 = `
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  from_agent TEXT NOT NULL, to_target TEXT NOT NULL, kind TEXT NOT NULL, channel TEXT, subject TEXT,
  body TEXT NOT NULL, thread_id INTEGER, reply_to INTEGER,
  claimable INTEGER NOT NULL, claimed_by TEXT, claimed_instance TEXT, claimed_at INTEGER, claim_expires_at INTEGER,
  reply_expected INTEGER NOT NULL, timing TEXT, payload TEXT, meta TEXT, idempotency_key TEXT,
  created_at INTEGER NOT NULL, expires_at INTEGER,
  -- 1 while it waits for a first recipient (sent with queue).
  pending INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE UNIQUE INDEX message_key ON message (from_agent, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX message_thread ON message (thread_id);
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
  id INTEGER PRIMARY KEY, message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
  agent_id TEXT NOT NULL, stage TEXT NOT NULL, at INTEGER NOT NULL,
  delivery_id TEXT, attempt INTEGER, evidence TEXT, generation INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX report_message ON report (message_id, id);
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
PRAGMA user_version = 2;
`;
