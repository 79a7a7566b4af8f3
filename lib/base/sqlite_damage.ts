import { basename, dirname, join } from "@std/path";
import type { Clock } from "./clock.ts";
import { messageOf, RunnerError } from "./errors.ts";
import { ensurePrivateDir } from "./private_file.ts";

/** What SQLite says of the place and not of the file's content. Deno's `exec` gives its words only, no number. */
const PLACE =
  /locked|busy|readonly|read-only|disk i\/o|is full|unable to open|permission|authorization|out of memory/i;

/** SQLite's header: its length, what it begins with, and what its bytes 18 and 19 say of a database with a write-ahead log. */
const HEADER_BYTES = 100;
const MAGIC = "SQLite format 3\0";
const WITH_LOG = 2;

/** What SQLite says when another process has the file. */
const IN_USE = /locked|busy/i;

/** True when another process has the file open, also as the cause of an error of ours. */
export function isInUse(error: unknown): boolean {
  return IN_USE.test(messageOf(causeOf(error)));
}

/** True when it is the content of a file that SQLite cannot read, also as the cause of an error of ours. */
export function isDamage(error: unknown): boolean {
  const cause = causeOf(error);
  const text = messageOf(cause);
  const ofSqlite = (cause as { code?: unknown } | undefined)?.code === "ERR_SQLITE_ERROR";
  return ofSqlite ? !PLACE.test(text) : /^malformed/.test(text);
}

/** Only what SQLite itself calls damage: anything else that fails while a file is in use is no reason to begin anew. */
export function isCorrupt(error: unknown): boolean {
  return isDamage(error) && /malformed|not a database|corrupt/i.test(messageOf(causeOf(error)));
}

/**
 * Says what is wrong with the first bytes of a file: SQLite takes some damage there for a file that it may not
 * write. `empty` for a file without a byte, null for a good file and for none.
 */
export function headerProblem(path: string): string | null {
  const size = sizeOf(path);
  if (size === null) return null;
  if (size === 0) return (sizeOf(`${path}-wal`) ?? 0) > 0 ? "the file is empty beside its log" : "empty";
  const header = headerOf(path);
  if (header === null) return null;
  if (!MAGIC.startsWith(new TextDecoder("latin1").decode(header.subarray(0, MAGIC.length)))) {
    return "not a database";
  }
  if (header.length < HEADER_BYTES) return "the file is cut";
  const versions = [header[18], header[19]];
  return versions.every((each) => each === 1 || each === WITH_LOG) ? null : "unknown file format";
}

/** True for a database that is written to by way of a log (`-wal`), also when there is none just now. */
export function isWriteAhead(path: string): boolean {
  return headerOf(path)?.[18] === WITH_LOG;
}

/** The first bytes of a file; null when it cannot be opened, of which opening it for real says more. */
function headerOf(path: string): Uint8Array | null {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch {
    return null;
  }
  try {
    const header = new Uint8Array(HEADER_BYTES);
    return header.subarray(0, file.readSync(header) ?? 0);
  } finally {
    file.close();
  }
}

/** Returns the size of a file, null when there is none. */
export function sizeOf(path: string): number | null {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof RunnerError ? error.cause : error;
}

/** Moves a database with what belongs to it to `quarantine/` beside it, and returns where it is now. */
export function putAside(path: string, clock: Pick<Clock, "wall">): string {
  const dir = join(dirname(path), "quarantine");
  ensurePrivateDir(dir);
  const stamp = new Date(clock.wall()).toISOString().replace(/[:.]/g, "-");
  const target = join(dir, `${stamp}-${basename(path)}`);
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      Deno.renameSync(path + suffix, target + suffix);
    } catch { /* the side files need not exist */ }
  }
  return target;
}
