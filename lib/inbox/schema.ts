import type { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../base/errors.ts";

/** Version of the journal's schema, kept in `user_version`. */
export const JOURNAL_VERSION = 1;

/** Sets up a new journal or checks an old one; a newer version is refused, never opened and never deleted. */
export function prepareSchema(db: DatabaseSync, path: string): void {
  const version = Number((db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version);
  if (version > JOURNAL_VERSION) {
    throw new RunnerError(
      "E_STATE",
      `Cannot open the journal: version ${version} is newer than this runner`,
      {
        where: path,
        hint: "use the newer runner, or move the file away and lose what it remembers",
      },
    );
  }
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;");
  if (version === JOURNAL_VERSION) return;
  db.exec(`
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS message (
      key TEXT PRIMARY KEY,
      ordinal INTEGER NOT NULL,
      open INTEGER NOT NULL,
      state TEXT NOT NULL,
      data TEXT NOT NULL,
      updated_at INTEGER NOT NULL,
      checksum TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS message_open ON message (open, ordinal);
    CREATE INDEX IF NOT EXISTS message_ended ON message (updated_at) WHERE open = 0;
    CREATE TABLE IF NOT EXISTS command (
      id TEXT PRIMARY KEY,
      data TEXT NOT NULL,
      updated_at INTEGER NOT NULL,
      checksum TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS fact (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL,
      checksum TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS quarantine (
      at INTEGER NOT NULL,
      origin TEXT NOT NULL,
      data TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = ${JOURNAL_VERSION};
    COMMIT;
  `);
}
