import { DatabaseSync, type StatementSync } from "node:sqlite";
import { dirname, join } from "@std/path";
import { ChoreAtRest } from "../base/at_rest.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import { ensurePrivateFile } from "../base/private_file.ts";
import { checksum } from "./checksum.ts";
import { ContentStore } from "./contents.ts";
import type { CommandRow, Journal, JournalRow, JournalSnapshot, JournalWrite } from "./contract.ts";
import { finished, keepsText, LOCAL_STORE } from "./core/row.ts";
import { salvageRows } from "./salvage.ts";
import { prepareSchema, verifySchema } from "./schema.ts";
import {
  isWholeCommand,
  isWholeFact,
  isWholeRow,
  rowOf,
  type StoredCommand,
  type StoredFact,
  storedOf,
  type StoredRow,
} from "./stored.ts";

/** Rows of messages that may come again: another agent took them, or a person dropped them. */
const REMEMBER_LEFT = 1_000;
/** Ended rows that are remembered whatever their age. */
const REMEMBER_ROWS = 10_000;
/** Ended rows beyond those are remembered so long, and never more than {@linkcode REMEMBER_MOST} in all. */
const REMEMBER_MS = 7 * 24 * 3_600_000;
const REMEMBER_MOST = 20_000;
const PRUNE_ROWS = 1_000;
/** Half of what SQLite's own threshold is reached with by commits of one message each. */
const FOLD_IN = { enough: 24, restMs: 3 };

/** The journal in one SQLite file. See {@linkcode openJournal}, which deals with damaged ones. */
export class SqliteJournal implements Journal {
  readonly #db: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #end: StatementSync;
  readonly #quarantined: string[];
  readonly #wall: () => number;
  readonly #putRow: StatementSync;
  readonly #moveRow: StatementSync;
  readonly #putCommand: StatementSync;
  readonly #putFact: StatementSync;
  readonly #getFact: StatementSync;
  readonly #getRow: StatementSync;
  readonly #contents: ContentStore;
  /** Folding the log in takes several times as long as a commit: SQLite does it in the one that finds it too long. */
  readonly #foldIn: ChoreAtRest;
  /** Read while the file was checked; the first `load` takes it, unless something was written since. */
  #checked: JournalSnapshot | null = null;
  #closed = false;

  constructor(options: { path: string; clock: Pick<Clock, "wall" | "setTimer"> }, quarantined: string[]) {
    const { clock } = options;
    this.#quarantined = quarantined;
    this.#wall = () => clock.wall();
    this.#foldIn = new ChoreAtRest({ clock, ...FOLD_IN, work: () => this.#checkpoint("PASSIVE") });
    ensurePrivateFile(options.path);
    this.#db = new DatabaseSync(options.path);
    try {
      prepareSchema(this.#db);
      this.#begin = this.#db.prepare("BEGIN IMMEDIATE");
      this.#end = this.#db.prepare("COMMIT");
      this.#putRow = this.#db.prepare(
        // In place: a replaced row would move to the end of the table, and every index with it.
        `INSERT INTO message (key, ordinal, open, state, data, updated_at, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (key) DO UPDATE SET open = excluded.open, state = excluded.state, data = excluded.data,
           updated_at = excluded.updated_at, checksum = excluded.checksum`,
      );
      // A row that stays open stays where it is in the index of those: only its own page is written.
      this.#moveRow = this.#db.prepare(
        "UPDATE message SET state = ?, data = ?, updated_at = ?, checksum = ? WHERE key = ? AND open = 1",
      );
      this.#putCommand = this.#db.prepare(
        "INSERT OR REPLACE INTO command (id, data, updated_at, checksum) VALUES (?, ?, ?, ?)",
      );
      this.#putFact = this.#db.prepare(
        "INSERT OR REPLACE INTO fact (name, value, checksum) VALUES (?, ?, ?)",
      );
      this.#getFact = this.#db.prepare("SELECT * FROM fact WHERE name = ?");
      this.#getRow = this.#db.prepare("SELECT * FROM message WHERE key = ?");
      this.#contents = new ContentStore(this.#db, join(dirname(options.path), "bodies"));
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Reads every page and every row that counts; throws when SQLite finds the file malformed. */
  verify(): void {
    verifySchema(this.#db);
    const row = this.#db.prepare("PRAGMA integrity_check(1)").get() as { integrity_check: string };
    if (row.integrity_check !== "ok") throw new Error(`malformed: ${row.integrity_check}`);
    this.#checked = this.#read();
  }

  /** Copies what can be read and has its right checksum from a damaged file; returns how many rows that were. */
  salvage(path: string): number {
    let saved = 0;
    this.#transaction(() => {
      saved = salvageRows(path, {
        row: (row) => this.#put(row),
        content: (content) => this.#contents.take(content),
        command: ({ id, data, updated_at, checksum }) => this.#putCommand.run(id, data, updated_at, checksum),
        fact: ({ name, value }) => this.#writeFact(name, value),
      });
    });
    return saved;
  }

  load(): JournalSnapshot {
    const snapshot = this.#checked ?? this.#read();
    this.#checked = null;
    return { ...snapshot, quarantined: this.#quarantined.splice(0) };
  }

  #read(): JournalSnapshot {
    const found = this.#select("SELECT * FROM message WHERE open = 1 ORDER BY ordinal, key");
    const dead = this.#select(
      "SELECT * FROM message WHERE state = 'dead' ORDER BY ordinal LIMIT ?",
      REMEMBER_ROWS,
    ).flatMap((row) => this.#check(row) ?? []).map((row) => ({ ...row, message: null }));
    try {
      this.#transaction(() => this.#contents.open(new Set([...found, ...dead].map(({ key }) => key))));
    } catch { /* a full disk is no reason not to start; the next start cleans up */ }
    const open = found.flatMap((row) => this.#check(row) ?? []).flatMap((row) =>
      this.#withContent(row) ?? []
    );
    const known: string[] = [];
    const ended =
      "SELECT * FROM message WHERE open = 0 AND state <> 'skipped' ORDER BY updated_at DESC LIMIT ?";
    for (const row of this.#select(ended, REMEMBER_ROWS)) {
      if (this.#whole(row)) known.push(row.key);
    }
    known.reverse();
    const left = this.#select(
      "SELECT * FROM message WHERE open = 0 AND state IN ('skipped', 'dropped') ORDER BY updated_at DESC LIMIT ?",
      REMEMBER_LEFT,
    ).flatMap((row) => this.#check(row) ?? []).reverse();
    // A number that was lost is found again in the rows: two incarnations must never share one.
    const incarnations = open.map(({ state }) => "incarnation" in state ? state.incarnation : 0);
    return {
      open,
      known,
      dead,
      left,
      commands: this.#commands(),
      resume: this.#fact("resume") as string | null,
      incarnation: Math.max(this.#incarnation(), ...incarnations),
      quarantined: [],
    };
  }

  /** Gives a row its message; a text that is lost or damaged is fetched from the relay when it is needed. */
  #withContent(row: JournalRow): JournalRow | null {
    const { envelope, text } = this.#contents.read(row.key);
    const message = envelope ?? row.message;
    if (message === null) {
      this.#putAside("message", row.key, JSON.stringify(row));
      return null;
    }
    if (row.shed) return { ...row, message };
    if (text !== null) return { ...row, message: { ...message, body: text } };
    // Version 1 kept the text in the row.
    return message.body === "" ? { ...row, message, shed: true } : { ...row, message };
  }

  write(write: JournalWrite): void {
    const contents = write.rows.map((row) => this.#missing(row));
    try {
      this.#commit(write, contents);
    } catch (error) {
      const texts = write.rows.filter((_row, index) => typeof contents[index] === "string");
      for (const { key } of texts) this.#contents.unspill(key);
      const shed = new Set(texts.filter(({ storeId }) => storeId !== LOCAL_STORE));
      if (shed.size === 0) throw error;
      // What does not fit on the disk with its texts may fit without: the relay has them until the messages are read,
      // and a run that finds none here asks for it. Else a backlog larger than the disk would never become smaller.
      this.#commit(write, write.rows.map((row, index) => shed.has(row) ? null : contents[index]));
    }
  }

  /** What has to be stored of the row's message: its text as well, only its envelope (null), nothing (undefined). */
  #missing(row: JournalRow): string | null | undefined {
    if (row.message === null || !keepsText(row)) return undefined;
    if (this.#contents.has(row.key, !row.shed)) return undefined;
    return row.shed ? null : row.message.body;
  }

  /** Writes everything in one transaction; `contents` says for each row what of its message. */
  #commit(write: JournalWrite, contents: readonly (string | null | undefined)[]): void {
    const files: string[] = [];
    this.#transaction(() => {
      write.rows.forEach((row, index) => this.#writeRow(row, contents[index], files));
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
    }, () => {
      contents.forEach((text, index) => {
        if (typeof text === "string") this.#contents.spill(write.rows[index]!.key, text);
      });
    });
    this.#contents.deleteFiles(files);
    this.#foldIn.note();
  }

  find(key: string): JournalRow | null {
    const found = this.#getRow.get(key) as StoredRow | undefined;
    const row = found === undefined ? null : this.#check(found);
    return row === null ? null : { ...row, message: this.#contents.envelope(key) ?? row.message };
  }

  prune(now: number): boolean {
    const nth = this.#db.prepare(
      "SELECT updated_at FROM message WHERE open = 0 ORDER BY updated_at DESC LIMIT 1 OFFSET ?",
    );
    const bound = (rows: number) => (nth.get(rows) as { updated_at: number } | undefined)?.updated_at;
    const least = bound(REMEMBER_ROWS);
    if (least === undefined) return false;
    const before = Math.max(bound(REMEMBER_MOST) ?? -Infinity, Math.min(least, now - REMEMBER_MS));
    let removed = 0;
    this.#transaction(() => {
      removed = Number(
        this.#db.prepare(
          `DELETE FROM message WHERE key IN (
             SELECT key FROM message WHERE open = 0 AND state <> 'dead' AND updated_at < ?
             ORDER BY updated_at LIMIT ?)`,
        ).run(before, PRUNE_ROWS).changes,
      );
      this.#db.prepare("DELETE FROM command WHERE updated_at < ?").run(now - REMEMBER_MS);
    });
    return removed === PRUNE_ROWS;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#foldIn.stop();
    this.#db.close();
  }

  #select(sql: string, ...values: number[]): StoredRow[] {
    return this.#db.prepare(sql).all(...values) as unknown as StoredRow[];
  }

  #writeRow(row: JournalRow, content: string | null | undefined, files: string[]): void {
    if (content !== undefined) this.#contents.put(row.key, row.message!, content);
    else if (!keepsText(row)) {
      const file = this.#contents.remove(row.key);
      if (file !== null) files.push(file);
    }
    const next = storedOf(row, finished(row) ? 0 : 1);
    const { key, state, data, updated_at, checksum } = next;
    const moves = next.open === 1 && content === undefined;
    if (moves && this.#moveRow.run(state, data, updated_at, checksum, key).changes > 0) return;
    this.#put(next);
  }

  #put({ key, ordinal, open, state, data, updated_at, checksum }: StoredRow): void {
    this.#putRow.run(key, ordinal, open, state, data, updated_at, checksum);
  }

  /** Returns the row without its message, or puts it aside when its checksum does not fit what is read. */
  #check(found: StoredRow): JournalRow | null {
    return this.#whole(found) ? rowOf(found) : null;
  }

  #whole(found: StoredRow): boolean {
    if (isWholeRow(found)) return true;
    this.#putAside("message", found.key, JSON.stringify(found));
    return false;
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
    const rows = this.#db.prepare("SELECT * FROM command ORDER BY updated_at")
      .all() as unknown as StoredCommand[];
    return rows.flatMap((row) => {
      if (isWholeCommand(row)) {
        return JSON.parse(row.data) as CommandRow;
      }
      this.#putAside("command", row.id, JSON.stringify(row));
      return [];
    });
  }

  #incarnation(): number {
    const value = Number(this.#fact("incarnation") ?? 0);
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  }

  #fact(name: string): unknown {
    const row = this.#getFact.get(name) as unknown as StoredFact | undefined;
    if (row === undefined) return null;
    if (!isWholeFact(row)) {
      this.#putAside("fact", name, JSON.stringify(row));
      return null;
    }
    return JSON.parse(row.value);
  }

  #writeFact(name: string, value: string): void {
    this.#putFact.run(name, value, checksum(name, value));
  }

  /** Folds the log in, as far as that is possible now. `TRUNCATE` gives its room on the disk back. */
  #checkpoint(mode: "PASSIVE" | "TRUNCATE"): void {
    try {
      this.#db.exec(`PRAGMA wal_checkpoint(${mode})`);
    } catch { /* even that needs room; SQLite tries again when the log is long */ }
  }

  /** `before` runs outside the transaction, with the same way of failing. */
  #transaction(work: () => void, before = () => {}): void {
    this.#checked = null;
    try {
      before();
      this.#begin.run();
      this.#contents.begin();
      try {
        work();
        this.#end.run();
      } catch (error) {
        this.#contents.rollback();
        try {
          this.#db.exec("ROLLBACK");
        } catch { /* SQLite rolled back by itself */ }
        // On a full disk the log may hold older versions of the same pages.
        this.#checkpoint("TRUNCATE");
        throw error;
      }
    } catch (error) {
      throw new RunnerError("E_STATE_WRITE", `Cannot write the journal: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
