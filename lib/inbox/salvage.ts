import { DatabaseSync } from "node:sqlite";
import { fits } from "./checksum.ts";
import {
  isWholeCommand,
  isWholeEnvelope,
  isWholeFact,
  isWholeRow,
  type StoredCommand,
  type StoredContent,
  type StoredFact,
  type StoredRow,
} from "./stored.ts";

/** Who takes what was whole. A row may come more than once, each time a newer one. */
export interface Salvaged {
  row(row: StoredRow): void;
  content(content: StoredContent): void;
  command(command: StoredCommand): void;
  fact(fact: StoredFact): void;
}

/** Gives away what can be read of a damaged journal and has its right checksum; returns how many rows that were. */
export function salvageRows(path: string, take: Salvaged): number {
  let damaged: DatabaseSync;
  try {
    damaged = new DatabaseSync(path, { readOnly: true });
  } catch {
    return 0;
  }
  let saved = 0;
  const each = <R>(table: string, whole: (row: R) => boolean, give: (row: R) => void) => {
    try {
      for (const row of damaged.prepare(`SELECT * FROM ${table}`).iterate()) {
        if (!whole(row as R)) continue;
        give(row as R);
        saved++;
      }
    } catch { /* what is behind the damage cannot be read */ }
  };
  // The same file may hold an older page that is whole: the newest version of a row is the one to keep.
  const newest = new Map<string, number>();
  const isNewest = (row: StoredRow) =>
    isWholeRow(row) && row.updated_at >= (newest.get(row.key) ?? -Infinity);
  each<StoredRow>("message", isNewest, (row) => {
    newest.set(row.key, row.updated_at);
    take.row(row);
  });
  // A text in a file is checked when it is read.
  const isNeeded = (content: StoredContent) => {
    const { key, text, file, checksum } = content;
    return newest.has(key) && (file !== "" || fits(checksum, key, text) || isWholeEnvelope(content));
  };
  each<StoredContent>("body", isNeeded, (content) => take.content(content));
  each<StoredCommand>("command", isWholeCommand, (command) => take.command(command));
  each<StoredFact>("fact", isWholeFact, (fact) => take.fact(fact));
  try {
    damaged.close();
  } catch { /* it is put aside anyway */ }
  return saved;
}
