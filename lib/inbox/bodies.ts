import { utf8Length } from "../base/bytes.ts";
import { sha256Hex } from "../base/hash.ts";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { join } from "@std/path";
import { ensurePrivateDir, writeFileAtomic } from "../base/private_file.ts";
import { checksum, fits } from "./checksum.ts";
import type { StoredBody } from "./stored.ts";

/** Texts up to this size are kept in the database, larger ones in a file of their own. */
const INLINE_BYTES = 256 * 1024;

/**
 * The texts of open messages, each written once when it arrives and removed when its message has ended, so that the
 * many states of a message do not write its text again and again.
 */
export class BodyStore {
  readonly #dir: string;
  readonly #put: StatementSync;
  readonly #get: StatementSync;
  readonly #remove: StatementSync;
  readonly #all: StatementSync;
  /** What is stored, with the file when the text is in one. */
  readonly #stored = new Map<string, string>();
  #undo: (() => void)[] = [];

  /** `dir` holds the files of large texts; it is created with the first one. */
  constructor(db: DatabaseSync, dir: string) {
    this.#dir = dir;
    this.#put = db.prepare("INSERT OR REPLACE INTO body (key, text, file, checksum) VALUES (?, ?, ?, ?)");
    this.#get = db.prepare("SELECT * FROM body WHERE key = ?");
    this.#remove = db.prepare("DELETE FROM body WHERE key = ?");
    this.#all = db.prepare("SELECT key FROM body");
  }

  /** A transaction begins whose `put` and `remove` a {@linkcode rollback} takes back here as well. */
  begin(): void {
    this.#undo = [];
  }

  rollback(): void {
    for (const step of this.#undo.splice(0).reverse()) step();
  }

  has(key: string): boolean {
    return this.#stored.has(key);
  }

  /** Writes a large text to its file, before the transaction that will refer to it. */
  spill(key: string, text: string): void {
    if (utf8Length(text) <= INLINE_BYTES) return;
    ensurePrivateDir(this.#dir);
    writeFileAtomic(join(this.#dir, fileOf(key)), text);
  }

  /** Deletes the file of a text that was spilled and is not stored after all. */
  unspill(key: string): void {
    this.deleteFiles([fileOf(key)]);
  }

  /** Stores a text; part of a transaction. */
  put(key: string, text: string): void {
    const large = utf8Length(text) > INLINE_BYTES;
    const file = large ? fileOf(key) : "";
    this.#put.run(key, large ? "" : text, file, checksum(key, text));
    this.#stored.set(key, file);
    this.#undo.push(() => this.#stored.delete(key));
  }

  /** Takes a stored text over as it is, from another database. */
  take(body: StoredBody): void {
    this.#put.run(body.key, body.text, body.file, body.checksum);
  }

  /** Removes a text; part of a transaction. Returns its file, to be deleted after the commit. */
  remove(key: string): string | null {
    const file = this.#stored.get(key);
    if (file === undefined) return null;
    this.#remove.run(key);
    this.#stored.delete(key);
    this.#undo.push(() => this.#stored.set(key, file));
    return file === "" ? null : file;
  }

  /** Deletes the files of texts that were removed. A file that stays is found at the next start. */
  deleteFiles(files: readonly string[]): void {
    for (const file of files) {
      try {
        Deno.removeSync(join(this.#dir, file));
      } catch { /* left for the next start */ }
    }
  }

  /** Returns a text, or null when there is none or it is damaged. */
  read(key: string): string | null {
    const stored = this.#get.get(key) as unknown as StoredBody | undefined;
    if (stored === undefined) return null;
    let text = stored.text;
    try {
      if (stored.file !== "") text = Deno.readTextFileSync(join(this.#dir, fileOf(key)));
    } catch {
      return null;
    }
    if (!fits(stored.checksum, key, text)) return null;
    this.#stored.set(key, stored.file === "" ? "" : fileOf(key));
    return text;
  }

  /** Removes texts and files that belong to no open message: what a crash left. `open` are the keys in use. */
  clean(open: ReadonlySet<string>): void {
    for (const { key } of this.#all.all() as { key: string }[]) {
      if (open.has(key)) continue;
      this.#remove.run(key);
      this.#stored.delete(key);
    }
    let files: string[];
    try {
      files = [...Deno.readDirSync(this.#dir)].map(({ name }) => name);
    } catch {
      return;
    }
    const used = new Set(this.#stored.values());
    this.deleteFiles(files.filter((file) => !used.has(file)));
  }
}

/** The key has a part that the relay chose; its hash is a safe name. */
function fileOf(key: string): string {
  return sha256Hex(key).slice(0, 40);
}
