import { DatabaseSync } from "node:sqlite";

/**
 * Returns the `user_version` of an SQLite file without changing a byte of it: a connection that may write would move
 * the write-ahead log into the file when it closes. Null when there is no file or it cannot be read.
 */
export function schemaVersionOf(path: string): number | null {
  let db: DatabaseSync | null = null;
  try {
    Deno.statSync(path);
    db = new DatabaseSync(path, { readOnly: true });
    return Number((db.prepare("PRAGMA user_version").get() as { user_version: number }).user_version);
  } catch {
    return null;
  } finally {
    db?.close();
  }
}
