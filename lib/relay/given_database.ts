import { dirname } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { messageOf, RunnerError, shown } from "../base/errors.ts";
import { isThere } from "../base/private_file.ts";
import { headerProblem, isInUse, isWriteAhead } from "../base/sqlite_damage.ts";

/** Tables without which a file is no relay's. */
const TABLES = ["message", "recipient", "agent"];

/**
 * Refuses a file that a person named as the relay's database and that is something else, before a byte or the mode of it is
 * changed: a typing error must cost nobody a file. None, or an empty one, is fine; its directory has to be there. Throws
 * `E_STATE`, `E_STATE_WRITE`.
 */
export function checkGivenDatabase(path: string): void {
  const where = shown(path, 300);
  const foreign = (what: string) =>
    new RunnerError("E_STATE", `not the database of a relay: ${what}`, {
      where,
      hint: "name another file, or one that is not there yet",
    });
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw foreign(messageOf(error));
    return checkDirectory(dirname(path));
  }
  if (!info.isFile) throw foreign(info.isSymlink ? "a link" : "not a regular file");
  if (info.size === 0) return;
  const problem = headerProblem(path);
  if (problem !== null) throw foreign(problem);
  let tables: Set<string>;
  try {
    // A connection that only reads leaves the log and the index that it makes for a database with a log. One that may
    // write removes them, and changes nothing as long as there was no log that it would fold in.
    const cleanUp = isWriteAhead(path) && !isThere(`${path}-wal`);
    const db = new DatabaseSync(path, { readOnly: !cleanUp });
    try {
      const rows = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as {
        name: string;
      }[];
      tables = new Set(rows.map(({ name }) => name));
    } finally {
      db.close();
    }
  } catch (error) {
    // Whoever has it may be a relay, of which its place is asked for, or has to be told apart, where it is opened.
    if (isInUse(error)) return;
    throw foreign(messageOf(error));
  }
  if (tables.size > 0 && !TABLES.every((name) => tables.has(name))) throw foreign("it has other tables");
}

function checkDirectory(dir: string): void {
  try {
    if (Deno.statSync(dir).isDirectory) return;
  } catch { /* said below */ }
  throw new RunnerError("E_STATE_WRITE", `there is no directory ${shown(dir, 300)}`, {
    where: "--db",
    hint: `make it first: mkdir -p ${shown(dir, 300)}`,
  });
}
