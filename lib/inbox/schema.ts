import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../base/errors.ts";
import { schemaVersionOf } from "../base/schema_version.ts";

/** Version of the journal's schema, kept in `user_version`. */
export const JOURNAL_VERSION = 4;

/**
 * No index has the rows that are open and those that are not: SQLite would find the ended ones by it, every one of them,
 * to sort them by their age.
 */
const TABLES = `
  CREATE TABLE IF NOT EXISTS message (
    key TEXT PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    open INTEGER NOT NULL,
    state TEXT NOT NULL,
    data TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    checksum TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS message_waiting ON message (ordinal, key) WHERE open = 1;
  CREATE INDEX IF NOT EXISTS message_ended ON message (updated_at) WHERE open = 0;
  CREATE INDEX IF NOT EXISTS message_dead ON message (ordinal) WHERE state = 'dead';
  CREATE TABLE IF NOT EXISTS body (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    -- Name of the file that holds the text, '' when it is here.
    file TEXT NOT NULL,
    checksum TEXT NOT NULL,
    envelope TEXT NOT NULL DEFAULT '',
    envelope_checksum TEXT NOT NULL DEFAULT ''
  ) STRICT;
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
`;

/** Versions 2 and 3 kept what a message says, but for its text, in its row; version 1 had no table of texts. */
const ENVELOPES = `
  ALTER TABLE body ADD COLUMN envelope TEXT NOT NULL DEFAULT '';
  ALTER TABLE body ADD COLUMN envelope_checksum TEXT NOT NULL DEFAULT '';
`;

/** The statements that made a database, one per line, without what a layout of the text changes. */
function statementsOf(db: DatabaseSync): string {
  const rows = db.prepare("SELECT type, name, tbl_name, coalesce(sql, '') AS sql FROM sqlite_schema")
    .all() as {
      type: string;
      name: string;
      tbl_name: string;
      sql: string;
    }[];
  return rows.map((row) => Object.values(row).join("|").replace(/\s+/g, "")).sort().join("\n");
}

/**
 * Throws when the tables are not exactly those of this version. SQLite's own check reads the definitions and does not
 * doubt them: a damaged one shows up as an error of the first write that meets it.
 */
export function verifySchema(db: DatabaseSync): void {
  const reference = new DatabaseSync(":memory:");
  reference.exec(TABLES);
  const expected = statementsOf(reference);
  reference.close();
  if (statementsOf(db) !== expected) throw new Error("malformed: the definitions of the tables");
}

/** Throws `E_STATE` for a journal of a newer version, or one whose version number a damaged byte made so. */
export function refuseNewer(path: string): void {
  const version = schemaVersionOf(path);
  if (version === null || (version >= 0 && version <= JOURNAL_VERSION)) return;
  throw new RunnerError("E_STATE", `Cannot open the journal: version ${version} is newer than this runner`, {
    where: path,
    hint: "use the newer runner, or move the file away and lose what it remembers",
  });
}

/** Sets up a new journal or brings an old one to {@linkcode JOURNAL_VERSION}. */
export function prepareSchema(db: DatabaseSync): void {
  const version = Number((db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version);
  // A log of 1 MiB and not of 4: on a small disk a log that is folded in late is what fills it, and stays.
  db.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000; PRAGMA wal_autocheckpoint = 256; " +
      // Above what those pages take, which is more than 1 MiB: a log that is cut at every turn has to grow again.
      "PRAGMA journal_size_limit = 1572864",
  );
  if (version === JOURNAL_VERSION) return;
  const work = `${
    version === 2 || version === 3 ? ENVELOPES : ""
  } DROP INDEX IF EXISTS message_open; ${TABLES}`;
  db.exec(`BEGIN IMMEDIATE; ${work} PRAGMA user_version = ${JOURNAL_VERSION}; COMMIT;`);
}
