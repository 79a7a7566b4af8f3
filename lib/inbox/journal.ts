import { createHash } from "node:crypto";
import { mkdirSync, renameSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { basename, dirname, join } from "@std/path";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { CommandRow, Journal, JournalRow, JournalSnapshot, JournalWrite } from "./contract.ts";
import { ensurePrivateFile } from "../base/private_file.ts";
import { finished, keptRow } from "./core/row.ts";
import { prepareSchema } from "./schema.ts";

/** Ended rows are remembered at least this long, and at least this many of them. */
const REMEMBER_MS = 7 * 24 * 3_600_000;
const REMEMBER_ROWS = 10_000;
const PRUNE_ROWS = 500;

/** Where a journal lives. */
export interface JournalOptions {
  /** The database file; its directory must exist and be private. */
  path: string;
  wall(): number;
  log: Log;
}

/**
 * Opens the durable memory of an agent: SQLite, WAL, synchronous=FULL, every row with a checksum.
 *
 * A file that SQLite cannot read is moved to `quarantine/` beside it, never deleted, and a new one begins: the
 * relay still holds everything unread. Throws `E_STATE` for a newer schema and `E_STATE_WRITE` when the place
 * cannot be written.
 */
export function openJournal(options: JournalOptions): Journal {
  try {
    return checked(new SqliteJournal(options, []));
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    if (!/malformed|not a database|corrupt|disk image/i.test(messageOf(error))) {
      throw new RunnerError("E_STATE_WRITE", `Cannot write the journal: ${messageOf(error)}`, {
        where: options.path,
        hint: "use --no-state to accept weaker delivery",
        cause: error,
      });
    }
    const moved = quarantineFile(options);
    const fresh = new SqliteJournal(options, [moved]);
    const saved = fresh.salvage(moved);
    options.log.warn("readable rows of the damaged journal were taken over", { saved });
    return fresh;
  }
}

/** Damage shows only when a page is read, which would be in the middle of a delivery: every page is read now. */
function checked(journal: SqliteJournal): SqliteJournal {
  try {
    journal.verify();
    return journal;
  } catch (error) {
    journal.close();
    throw error;
  }
}

function quarantineFile({ path, wall, log }: JournalOptions): string {
  const dir = join(dirname(path), "quarantine");
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stamp = new Date(wall()).toISOString().replace(/[:.]/g, "-");
  const target = join(dir, `${stamp}-${basename(path)}`);
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      renameSync(path + suffix, target + suffix);
    } catch { /* the side files need not exist */ }
  }
  log.warn("the journal was damaged and put aside, the relay offers again what is unread", { moved: target });
  return target;
}

function checksum(...parts: (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64url").slice(0, 16);
}

interface StoredRow {
  key: string;
  ordinal: number;
  open: number;
  state: string;
  data: string;
  updated_at: number;
  checksum: string;
}

class SqliteJournal implements Journal {
  readonly #db: DatabaseSync;
  readonly #quarantined: string[];
  readonly #wall: () => number;
  readonly #putRow: StatementSync;
  readonly #putCommand: StatementSync;
  readonly #putFact: StatementSync;
  readonly #getFact: StatementSync;
  readonly #getRow: StatementSync;
  #closed = false;

  constructor(options: JournalOptions, quarantined: string[]) {
    this.#quarantined = quarantined;
    this.#wall = options.wall;
    ensurePrivateFile(options.path);
    this.#db = new DatabaseSync(options.path);
    try {
      prepareSchema(this.#db, options.path);
      this.#putRow = this.#db.prepare(
        "INSERT OR REPLACE INTO message (key, ordinal, open, state, data, updated_at, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
      );
      this.#putCommand = this.#db.prepare(
        "INSERT OR REPLACE INTO command (id, data, updated_at, checksum) VALUES (?, ?, ?, ?)",
      );
      this.#putFact = this.#db.prepare(
        "INSERT OR REPLACE INTO fact (name, value, checksum) VALUES (?, ?, ?)",
      );
      this.#getFact = this.#db.prepare("SELECT value, checksum FROM fact WHERE name = ?");
      this.#getRow = this.#db.prepare("SELECT * FROM message WHERE key = ?");
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Reads every page; throws when SQLite finds the file malformed. */
  verify(): void {
    const row = this.#db.prepare("PRAGMA integrity_check(1)").get() as { integrity_check: string };
    if (row.integrity_check !== "ok") throw new Error(`malformed: ${row.integrity_check}`);
  }

  /** Copies what can be read and has its right checksum from a damaged file; returns how many rows that were. */
  salvage(path: string): number {
    let saved = 0;
    let damaged: DatabaseSync;
    try {
      damaged = new DatabaseSync(path, { readOnly: true });
    } catch {
      return 0;
    }
    const each = (sql: string, take: (row: never) => void) => {
      try {
        for (const row of damaged.prepare(sql).iterate()) {
          take(row as never);
          saved++;
        }
      } catch { /* what is behind the damage cannot be read */ }
    };
    this.#transaction(() => {
      each("SELECT * FROM message", (row: StoredRow) => {
        const { key, ordinal, open, state, data, updated_at } = row;
        const sum = checksum(key, ordinal, open, state, data, updated_at);
        if (sum === row.checksum) this.#putRow.run(key, ordinal, open, state, data, updated_at, sum);
        else saved--;
      });
      each(
        "SELECT * FROM command",
        (row: { id: string; data: string; updated_at: number; checksum: string }) => {
          const sum = checksum(row.id, row.data, row.updated_at);
          if (sum === row.checksum) this.#putCommand.run(row.id, row.data, row.updated_at, sum);
          else saved--;
        },
      );
      each("SELECT * FROM fact", (row: { name: string; value: string; checksum: string }) => {
        if (checksum(row.name, row.value) === row.checksum) this.#writeFact(row.name, row.value);
        else saved--;
      });
    });
    damaged.close();
    return saved;
  }

  load(): JournalSnapshot {
    const open: JournalRow[] = [];
    const known: string[] = [];
    for (const stored of this.#select("SELECT * FROM message WHERE open = 1 ORDER BY ordinal, key")) {
      const row = this.#check(stored);
      if (row) open.push(row);
    }
    const ended =
      "SELECT * FROM message WHERE open = 0 AND state <> 'skipped' ORDER BY updated_at DESC LIMIT ?";
    for (const stored of this.#select(ended, REMEMBER_ROWS)) {
      const row = this.#check(stored);
      if (row) known.push(row.key);
    }
    known.reverse();
    return {
      open,
      known,
      commands: this.#commands(),
      resume: this.#fact("resume"),
      incarnation: Number(this.#fact("incarnation") ?? 0),
      quarantined: this.#quarantined.splice(0),
    };
  }

  write(write: JournalWrite): void {
    this.#transaction(() => {
      for (const row of write.rows) this.#writeRow(row);
      for (const command of write.commands) {
        const data = JSON.stringify(command);
        this.#putCommand.run(
          command.commandId,
          data,
          command.at,
          checksum(command.commandId, data, command.at),
        );
      }
      if (write.resume !== undefined) this.#writeFact("resume", JSON.stringify(write.resume));
      if (write.incarnation !== undefined) this.#writeFact("incarnation", String(write.incarnation));
    });
  }

  find(key: string): JournalRow | null {
    const stored = this.#getRow.get(key) as StoredRow | undefined;
    return stored === undefined ? null : this.#check(stored);
  }

  dead(): JournalRow[] {
    return this.#select("SELECT * FROM message WHERE open = 0 AND state = 'dead' ORDER BY ordinal LIMIT 1000")
      .flatMap((stored) => this.#check(stored) ?? []);
  }

  prune(now: number): void {
    this.#transaction(() => {
      this.#db.prepare(
        `DELETE FROM message WHERE key IN (
           SELECT key FROM message WHERE open = 0 AND state <> 'dead' AND updated_at < ?
             AND (SELECT count(*) FROM message WHERE open = 0) > ? ORDER BY updated_at LIMIT ?)`,
      ).run(now - REMEMBER_MS, REMEMBER_ROWS, PRUNE_ROWS);
      this.#db.prepare("DELETE FROM command WHERE updated_at < ?").run(now - REMEMBER_MS);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#db.close();
  }

  #select(sql: string, ...values: number[]): StoredRow[] {
    return this.#db.prepare(sql).all(...values) as unknown as StoredRow[];
  }

  #writeRow(row: JournalRow): void {
    const data = JSON.stringify(keptRow(row));
    const open = finished(row) ? 0 : 1;
    const { state } = row.state;
    const sum = checksum(row.key, row.messageId, open, state, data, row.updatedAt);
    this.#putRow.run(row.key, row.messageId, open, state, data, row.updatedAt, sum);
  }

  /** Returns the row, or puts it aside when its checksum does not fit what is read. */
  #check(stored: StoredRow): JournalRow | null {
    const { key, ordinal, open, state, data, updated_at } = stored;
    if (checksum(key, ordinal, open, state, data, updated_at) === stored.checksum) {
      return JSON.parse(data) as JournalRow;
    }
    this.#putAside("message", key, JSON.stringify(stored));
    return null;
  }

  #putAside(table: "message" | "command" | "fact", id: string, data: string): void {
    const column = { message: "key", command: "id", fact: "name" }[table];
    this.#transaction(() => {
      this.#db.prepare("INSERT INTO quarantine (at, origin, data) VALUES (?, ?, ?)").run(
        this.#wall(),
        table,
        data,
      );
      this.#db.prepare(`DELETE FROM ${table} WHERE ${column} = ?`).run(id);
    });
    this.#quarantined.push(`${table} ${id}`);
  }

  #commands(): CommandRow[] {
    const rows = this.#db.prepare("SELECT * FROM command ORDER BY updated_at").all() as {
      id: string;
      data: string;
      updated_at: number;
      checksum: string;
    }[];
    return rows.flatMap((row) => {
      if (checksum(row.id, row.data, row.updated_at) === row.checksum) {
        return JSON.parse(row.data) as CommandRow;
      }
      this.#putAside("command", row.id, JSON.stringify(row));
      return [];
    });
  }

  #fact(name: string): string | null {
    const row = this.#getFact.get(name) as { value: string; checksum: string } | undefined;
    if (row === undefined) return null;
    if (checksum(name, row.value) !== row.checksum) {
      this.#putAside("fact", name, JSON.stringify(row));
      return null;
    }
    return JSON.parse(row.value) as string | null;
  }

  #writeFact(name: string, value: string): void {
    this.#putFact.run(name, value, checksum(name, value));
  }

  #transaction(work: () => void): void {
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      try {
        work();
        this.#db.exec("COMMIT");
      } catch (error) {
        try {
          this.#db.exec("ROLLBACK");
        } catch { /* SQLite rolled back by itself */ }
        throw error;
      }
    } catch (error) {
      throw new RunnerError("E_STATE_WRITE", `Cannot write the journal: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
