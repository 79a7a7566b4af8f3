import { randomHex } from "../base/secret.ts";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { ChoreAtRest } from "../base/at_rest.ts";
import { afterReadyInput, type Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import { isInUse } from "../base/sqlite_damage.ts";
import { prepareRelaySchema, refuseNewerRelay } from "./schema.ts";

/** SQLite's primary result codes for BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB. */
const STORAGE_CODES: ReadonlySet<number> = new Set([5, 6, 7, 8, 10, 11, 13, 14, 15, 26]);

function isStorageFailure(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === "number" && STORAGE_CODES.has(errcode & 0xff);
}

/** Half of what SQLite's own threshold is reached with by commits of one message each. */
const FOLD_IN = { enough: 48, restMs: 3 };

interface Job {
  work(): unknown;
  /** What follows from the commit, told in the order of the jobs. */
  committed(value: unknown): void;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A job failed after it had written: what it wrote must be taken back without the rest. */
const REDO: unique symbol = Symbol("redo");

/**
 * The relay's SQLite file. Writes of one moment share one commit (group commit), and their promises resolve after it is
 * on disk. One that fails takes back only itself: those that fail, fail before they write, as a rule. When one did not,
 * the commit is done over with a savepoint around each, which otherwise would copy every page that a job is the first
 * to touch. So a job may run twice and keeps nothing outside the database.
 */
export class RelayDatabase {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Folding the log in takes several times as long as a commit: SQLite does it in the one that finds it too long. */
  readonly #foldIn: ChoreAtRest;
  #jobs: Job[] = [];
  #flushing = false;
  #changes = 0;
  #closed = false;
  /** Called after a commit that changed something. Must not throw. */
  onChange = () => {};
  readonly storeId: string;
  /** Key of the agent-bound tokens; never leaves the database. */
  readonly tokenKey: Uint8Array;

  constructor(path: string, clock: Pick<Clock, "setTimer">) {
    refuseNewerRelay(path);
    this.#foldIn = new ChoreAtRest({ clock, ...FOLD_IN, work: () => this.#checkpoint("PASSIVE") });
    this.#db = new DatabaseSync(path);
    try {
      prepareRelaySchema(this.#db, path);
      this.storeId = this.#fact("storeId", () => crypto.randomUUID());
      this.tokenKey = Uint8Array.fromHex(this.#fact("tokenKey", () => randomHex(32)));
    } catch (error) {
      this.#db.close();
      if (error instanceof RunnerError) throw error;
      const locked = isInUse(error);
      throw new RunnerError(
        "E_STATE",
        locked
          ? "the relay database is in use by another relay"
          : `cannot open the relay database: ${messageOf(error)}`,
        { where: path, cause: error, ...(locked ? { hint: "stop the other relay or use --db FILE" } : {}) },
      );
    }
  }

  #fact(name: string, make: () => string): string {
    const row = this.get<{ value: string }>("SELECT value FROM fact WHERE name = ?", name);
    if (row) return row.value;
    const value = make();
    this.run("INSERT INTO fact (name, value) VALUES (?, ?)", name, value);
    return value;
  }

  /**
   * Runs `work` (synchronous) in the next group commit and resolves with its value once it is on disk. `committed` is
   * called before that, in the order of the writes and before anything else can happen.
   */
  write<T>(work: () => T, committed: (value: T) => void = () => {}): Promise<T> {
    if (this.#closed) return Promise.reject(new RunnerError("E_STATE_WRITE", "the relay is stopping"));
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({
        work,
        committed: committed as (value: unknown) => void,
        resolve: resolve as (value: unknown) => void,
        reject,
      });
      if (this.#flushing) return;
      this.#flushing = true;
      // Frames that arrived together are read in tasks of their own and join the same commit.
      afterReadyInput(() => this.#flush());
    });
  }

  #flush(): void {
    this.#flushing = false;
    const jobs = this.#jobs;
    this.#jobs = [];
    if (jobs.length === 0) return;
    const before = this.#changes;
    let settle: (() => void)[];
    try {
      settle = this.#transact(jobs, (job) => this.#plain(job)) ??
        this.#transact(jobs, (job) => this.#guarded(job))!;
    } catch (error) {
      // On a full disk the log may hold older versions of the same pages.
      this.#checkpoint("TRUNCATE");
      const failure = new RunnerError("E_STATE_WRITE", `the relay cannot write: ${messageOf(error)}`, {
        cause: error,
      });
      for (const job of jobs) job.reject(failure);
      return;
    }
    for (const done of settle) done();
    if (this.#changes === before) return;
    this.#foldIn.note();
    this.onChange();
  }

  /** Returns how to settle the jobs, null when they have to be done over. Throws when nothing could be written. */
  #transact(jobs: readonly Job[], one: (job: Job) => () => void): (() => void)[] | null {
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const settle = jobs.map(one);
      this.#db.exec("COMMIT");
      return settle;
    } catch (error) {
      try {
        this.#db.exec("ROLLBACK");
      } catch { /* SQLite rolled back by itself */ }
      if (error === REDO) return null;
      throw error;
    }
  }

  /** Folds the log in, as far as that is possible now. `TRUNCATE` gives its room on the disk back. */
  #checkpoint(mode: "PASSIVE" | "TRUNCATE"): void {
    try {
      this.#db.exec(`PRAGMA wal_checkpoint(${mode})`);
    } catch { /* even that needs room; SQLite tries again when the log is long */ }
  }

  #plain(job: Job): () => void {
    const before = this.#changes;
    try {
      const value = job.work();
      return () => succeed(job, value);
    } catch (error) {
      if (isStorageFailure(error)) throw error;
      if (this.#changes !== before) throw REDO;
      return () => job.reject(error);
    }
  }

  #guarded(job: Job): () => void {
    this.#db.exec("SAVEPOINT job");
    try {
      const value = job.work();
      this.#db.exec("RELEASE job");
      return () => succeed(job, value);
    } catch (error) {
      // When the disk or the database failed, the whole commit must; what else goes wrong is this job's own.
      if (isStorageFailure(error)) throw error;
      this.#db.exec("ROLLBACK TO job; RELEASE job");
      return () => job.reject(error);
    }
  }

  /** Rows changed so far, also those of transactions that failed. */
  get changes(): number {
    return this.#changes;
  }

  /** First row of a query, or undefined. */
  get<T>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#prepare(sql).get(...values) as T | undefined;
  }

  /** All rows of a query. */
  all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#prepare(sql).all(...values) as T[];
  }

  /** The rows of a query one by one; those after the last one that is taken are not read. */
  each<T>(sql: string, ...values: SQLInputValue[]): Iterable<T> {
    return this.#prepare(sql).iterate(...values) as Iterable<T>;
  }

  /** Runs a statement; returns the id of the last insert and the number of rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): { id: number; changes: number } {
    const { lastInsertRowid, changes } = this.#prepare(sql).run(...values);
    this.#changes += Number(changes);
    return { id: Number(lastInsertRowid), changes: Number(changes) };
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** Commits what waits and closes. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#foldIn.stop();
    this.#db.close();
  }
}

function succeed(job: Job, value: unknown): void {
  try {
    job.committed(value);
    job.resolve(value);
  } catch (error) {
    job.reject(error);
  }
}
