import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { checkStateFile } from "../base/private_file.ts";
import { headerProblem, isCorrupt, isDamage, putAside } from "../base/sqlite_damage.ts";
import type { Journal, JournalRow, JournalSnapshot, JournalWrite } from "./contract.ts";
import { refuseNewer } from "./schema.ts";
import { SqliteJournal } from "./sqlite_journal.ts";

/** Where a journal lives. */
export interface JournalOptions {
  /** The database file; its directory must exist and be private. */
  path: string;
  clock: Pick<Clock, "wall" | "setTimer">;
  log: Log;
}

/**
 * Opens the durable memory of an agent: SQLite, WAL, synchronous=FULL, every row with a checksum.
 *
 * A file whose content is damaged is moved to `quarantine/` beside it, never deleted, and what can be read of it is
 * taken over into a new one: the relay still holds everything unread. Throws `E_STATE` for a newer schema and for what
 * is no file, `E_CONFIG_PERM` for one that is a link or not this user's, and `E_STATE_WRITE` when the place cannot be
 * written.
 */
export function openJournal(options: JournalOptions): Journal {
  return new LastingJournal(options);
}

/**
 * A journal that outlives damage to its file. Nothing of a damaged file can be written any more, and nobody would look at
 * it before the next start: it is put aside at once, as a start does.
 */
class LastingJournal implements Journal {
  readonly #options: JournalOptions;
  #journal: SqliteJournal;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#journal = openFile(options);
  }

  load(): JournalSnapshot {
    return this.#journal.load();
  }

  write(write: JournalWrite): void {
    try {
      this.#journal.write(write);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      this.#renew(error);
      throw new RunnerError("E_STATE", "the journal was damaged, and a new one is begun", { cause: error });
    }
  }

  find(key: string): JournalRow | null {
    try {
      return this.#journal.find(key);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      this.#renew(error);
      return this.#journal.find(key);
    }
  }

  prune(now: number): boolean {
    try {
      return this.#journal.prune(now);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      this.#renew(error);
      return false;
    }
  }

  close(): void {
    this.#journal.close();
  }

  #renew(error: unknown): void {
    this.#options.log.error("the journal is damaged", { reason: messageOf(error) });
    try {
      this.#journal.close();
    } catch { /* what it had left to do cannot be done */ }
    this.#journal = begunAnew(this.#options);
  }
}

function openFile(options: JournalOptions): SqliteJournal {
  // Before anything opens it: what is no file may not even answer.
  checkStateFile(options.path);
  refuseNewer(options.path);
  const found = headerProblem(options.path);
  try {
    if (found !== null && found !== "empty") throw new Error(`malformed: ${found}`);
    const journal = checked(new SqliteJournal(options, []));
    if (found === "empty") {
      options.log.warn("the journal was empty, the relay offers again what is unread", {
        path: options.path,
      });
    }
    return journal;
  } catch (error) {
    if (error instanceof RunnerError && error.code === "E_STATE") throw error;
    if (!isDamage(error)) {
      throw new RunnerError("E_STATE_WRITE", `Cannot write the journal: ${messageOf(error)}`, {
        where: options.path,
        hint: "make room there, or make the directory writable",
        cause: error,
      });
    }
    return begunAnew(options);
  }
}

/** Puts a damaged file aside and begins a new one with what can be read of it. */
function begunAnew(options: JournalOptions): SqliteJournal {
  const moved = quarantineFile(options);
  const fresh = new SqliteJournal(options, [moved]);
  const saved = fresh.salvage(moved);
  options.log.warn("readable rows of the damaged journal were taken over", { saved });
  return fresh;
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

function quarantineFile({ path, clock, log }: JournalOptions): string {
  const target = putAside(path, clock);
  log.warn("the journal was damaged and put aside, the relay offers again what is unread", { moved: target });
  return target;
}
