import { DatabaseSync } from "node:sqlite";
import { messageOf } from "../base/errors.ts";
import { headerProblem, sizeOf } from "../base/sqlite_damage.ts";
import { JOURNAL_VERSION, verifySchema } from "./schema.ts";
import { isWholeRow, type StoredRow } from "./stored.ts";

/** What a journal still holds, for somebody who wants to remove it. */
export type JournalLook =
  /** There is none, or nothing was ever written into it. */
  | { state: "none" }
  /** Every row is as it was written: messages that have not ended, and dead letters. */
  | { state: "whole"; open: number; dead: number }
  | { state: "newer" }
  | { state: "damaged"; problem: string };

/**
 * Looks into the journal of an agent without changing it, for whoever holds the agent's place. A damaged one may hold
 * what cannot be seen, so that every page and every row is checked. Never throws.
 */
export function lookIntoJournal(path: string): JournalLook {
  try {
    const problem = headerProblem(path);
    if (problem === "empty") return { state: "none" };
    if (problem !== null) return { state: "damaged", problem };
    if (sizeOf(path) !== null) return withoutTrace(path, () => read(path));
    return (sizeOf(`${path}-wal`) ?? 0) > 0
      ? { state: "damaged", problem: "only its log is there" }
      : { state: "none" };
  } catch (error) {
    return { state: "damaged", problem: messageOf(error) };
  }
}

function read(path: string): JournalLook {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
    if (version < 0 || version > JOURNAL_VERSION) return { state: "newer" };
    const tables = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get() as { n: number };
    if (tables.n === 0) return { state: "none" };
    if (version === JOURNAL_VERSION) verifySchema(db);
    const check = db.prepare("PRAGMA integrity_check(1)").get() as { integrity_check: string };
    if (check.integrity_check !== "ok") return { state: "damaged", problem: check.integrity_check };
    let [open, dead] = [0, 0];
    for (const each of db.prepare("SELECT * FROM message").iterate()) {
      const row = each as unknown as StoredRow;
      if (!isWholeRow(row)) return { state: "damaged", problem: "a row does not fit its checksum" };
      if (row.open === 1) open++;
      if (row.state === "dead") dead++;
    }
    return { state: "whole", open, dead };
  } finally {
    db.close();
  }
}

/** SQLite makes the side files of a log that it only reads, and leaves them. */
function withoutTrace<T>(path: string, work: () => T): T {
  const made = ["-shm", "-wal"].map((suffix) => path + suffix).filter((side) => sizeOf(side) === null);
  try {
    return work();
  } finally {
    for (const side of made) {
      if (sizeOf(side) !== null) Deno.removeSync(side);
    }
  }
}
