import { basename, dirname, join } from "@std/path";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Journal } from "./contract.ts";
import { refuseNewer } from "./schema.ts";
import { SqliteJournal } from "./sqlite_journal.ts";

/** Where a journal lives. */
export interface JournalOptions {
  /** The database file; its directory must exist and be private. */
  path: string;
  clock: Pick<Clock, "wall" | "setTimer">;
  log: Log;
}

/** What SQLite says of the place and not of the file's content. Deno's `exec` gives its words only, no number. */
const PLACE =
  /locked|busy|readonly|read-only|disk i\/o|is full|unable to open|permission|authorization|out of memory/i;

/**
 * Opens the durable memory of an agent: SQLite, WAL, synchronous=FULL, every row with a checksum.
 *
 * A file whose content is damaged is moved to `quarantine/` beside it, never deleted, and what can be read of it is
 * taken over into a new one: the relay still holds everything unread. Throws `E_STATE` for a newer schema and
 * `E_STATE_WRITE` when the place cannot be written.
 */
export function openJournal(options: JournalOptions): Journal {
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

function isDamage(error: unknown): boolean {
  const cause = error instanceof RunnerError ? error.cause : error;
  const text = messageOf(cause);
  const ofSqlite = (cause as { code?: unknown } | undefined)?.code === "ERR_SQLITE_ERROR";
  return ofSqlite ? !PLACE.test(text) : /^malformed/.test(text);
}

/**
 * Says what is wrong with the first bytes of a file: SQLite takes some damage there for a file that it may not
 * write. Null for a good file and for none.
 */
function headerProblem(path: string): string | null {
  const size = sizeOf(path);
  if (size === null) return null;
  if (size === 0) return (sizeOf(`${path}-wal`) ?? 0) > 0 ? "the file is empty beside its log" : "empty";
  const header = new Uint8Array(100);
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch {
    // The place, not the content: opening it for real says more.
    return null;
  }
  try {
    if ((file.readSync(header) ?? 0) < 100) return "the file is cut";
  } finally {
    file.close();
  }
  if (new TextDecoder("latin1").decode(header.subarray(0, 16)) !== "SQLite format 3\0") {
    return "not a database";
  }
  const versions = [header[18], header[19]];
  return versions.every((each) => each === 1 || each === 2) ? null : "unknown file format";
}

/** Size of a file, null when there is none. */
function sizeOf(path: string): number | null {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function quarantineFile({ path, clock, log }: JournalOptions): string {
  const dir = join(dirname(path), "quarantine");
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stamp = new Date(clock.wall()).toISOString().replace(/[:.]/g, "-");
  const target = join(dir, `${stamp}-${basename(path)}`);
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      Deno.renameSync(path + suffix, target + suffix);
    } catch { /* the side files need not exist */ }
  }
  log.warn("the journal was damaged and put aside, the relay offers again what is unread", { moved: target });
  return target;
}
