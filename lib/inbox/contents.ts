import { utf8Length } from "../base/bytes.ts";
import { sha256Hex } from "../base/hash.ts";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { join } from "@std/path";
import { ensurePrivateDir, writeFileAtomic } from "../base/private_file.ts";
import type { Message } from "../protocol/message.ts";
import { checksum, fits } from "./checksum.ts";
import { isWholeEnvelope, type StoredContent } from "./stored.ts";

/** Texts up to this size are kept in the database. */
const INLINE_BYTES = 256 * 1024;

/** True for a text that is kept in a file of its own: a large one, or one that SQLite's driver would cut at its NUL. */
function needsFile(text: string): boolean {
  return utf8Length(text) > INLINE_BYTES || text.includes("\0");
}

/** What is stored of a message's content. */
interface Kept {
  envelope: boolean;
  text: boolean;
  /** Name of the file that holds the text, '' when the database does. */
  file: string;
}

/** A message's content as far as it is there and whole. */
export interface Content {
  /** The message without its text. */
  envelope: Message | null;
  text: string | null;
}

/**
 * What messages say that have not ended: envelope and text, each written once when it arrives and removed when its
 * message has ended, so that the many states of a message do not write it again and again.
 */
export class ContentStore {
  readonly #dir: string;
  readonly #put: StatementSync;
  readonly #get: StatementSync;
  readonly #remove: StatementSync;
  readonly #all: StatementSync;
  readonly #kept = new Map<string, Kept>();
  #undo: (() => void)[] = [];

  /** `dir` holds the files of large texts; it is created with the first one. */
  constructor(db: DatabaseSync, dir: string) {
    this.#dir = dir;
    this.#put = db.prepare(
      "INSERT OR REPLACE INTO body (key, text, file, checksum, envelope, envelope_checksum) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#get = db.prepare("SELECT * FROM body WHERE key = ?");
    this.#remove = db.prepare("DELETE FROM body WHERE key = ?");
    this.#all = db.prepare("SELECT key, file, checksum, envelope_checksum FROM body");
  }

  /** Learns what is stored of the messages with these keys, and removes the rest: what a crash left. */
  open(keys: ReadonlySet<string>): void {
    type Found = Pick<StoredContent, "key" | "file" | "checksum" | "envelope_checksum">;
    for (const found of this.#all.all() as unknown as Found[]) {
      if (keys.has(found.key)) {
        const text = found.checksum !== "";
        this.#kept.set(found.key, { envelope: found.envelope_checksum !== "", text, file: found.file });
      } else {
        this.#remove.run(found.key);
        this.#kept.delete(found.key);
      }
    }
    let files: string[];
    try {
      files = [...Deno.readDirSync(this.#dir)].map(({ name }) => name);
    } catch {
      return;
    }
    const used = new Set([...this.#kept.values()].map(({ file }) => file));
    this.deleteFiles(files.filter((file) => !used.has(file)));
  }

  /** A transaction begins whose `put` and `remove` a {@linkcode rollback} takes back here as well. */
  begin(): void {
    this.#undo = [];
  }

  /** The transaction failed: forgets what it did. */
  rollback(): void {
    for (const step of this.#undo.splice(0).reverse()) step();
  }

  /** True when nothing of a message has to be written; with `text`, neither has its text. */
  has(key: string, text: boolean): boolean {
    const kept = this.#kept.get(key);
    return kept?.envelope === true && (kept.text || !text);
  }

  /** Writes a text that needs a file to it, before the transaction that will refer to it. */
  spill(key: string, text: string): void {
    if (!needsFile(text)) return;
    ensurePrivateDir(this.#dir);
    writeFileAtomic(join(this.#dir, fileOf(key)), text);
  }

  /** Deletes the file of a text that was spilled and is not stored after all, unless it was stored before. */
  unspill(key: string): void {
    const file = fileOf(key);
    if (this.#kept.get(key)?.file !== file) this.deleteFiles([file]);
  }

  /** Stores a message, without its text when that is null; part of a transaction. */
  put(key: string, message: Message, text: string | null): void {
    const spilled = text !== null && needsFile(text);
    const file = spilled ? fileOf(key) : "";
    const envelope = JSON.stringify({ ...message, body: "" });
    const textSum = text === null ? "" : checksum(key, text);
    this.#put.run(key, spilled ? "" : text ?? "", file, textSum, envelope, checksum(key, envelope));
    this.#note(key, { envelope: true, text: text !== null, file });
  }

  /** Takes stored content over as it is, from another database, also one of an earlier version. */
  take({ key, text, file, checksum, envelope = "", envelope_checksum = "" }: StoredContent): void {
    this.#put.run(key, text, file, checksum, envelope, envelope_checksum);
  }

  /** Removes a message's content; part of a transaction. Returns its file, to be deleted after the commit. */
  remove(key: string): string | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    this.#remove.run(key);
    this.#note(key, null);
    return kept.file === "" ? null : kept.file;
  }

  /** Deletes the files of texts that were removed. A file that stays is found at the next start. */
  deleteFiles(files: readonly string[]): void {
    for (const file of files) {
      try {
        Deno.removeSync(join(this.#dir, file));
      } catch { /* left for the next start */ }
    }
  }

  /** Returns a message without its text, null when it is not there or damaged. */
  envelope(key: string): Message | null {
    return envelopeOf(this.#get.get(key) as StoredContent | undefined);
  }

  /** Returns what is there of a message. */
  read(key: string): Content {
    const stored = this.#get.get(key) as StoredContent | undefined;
    const content = { envelope: envelopeOf(stored), text: this.#textOf(stored) };
    const kept = this.#kept.get(key);
    // A damaged one is written anew once it is known again.
    if (kept !== undefined) kept.text = content.text !== null;
    return content;
  }

  #textOf(stored: StoredContent | undefined): string | null {
    if (stored === undefined) return null;
    const { key, file, checksum } = stored;
    try {
      const text = file === "" ? stored.text : Deno.readTextFileSync(join(this.#dir, fileOf(key)));
      return fits(checksum, key, text) ? text : null;
    } catch {
      return null;
    }
  }

  #note(key: string, kept: Kept | null): void {
    const before = this.#kept.get(key);
    this.#undo.push(() => before === undefined ? this.#kept.delete(key) : this.#kept.set(key, before));
    if (kept === null) this.#kept.delete(key);
    else this.#kept.set(key, kept);
  }
}

function envelopeOf(stored: StoredContent | undefined): Message | null {
  return stored !== undefined && isWholeEnvelope(stored) ? JSON.parse(stored.envelope!) as Message : null;
}

/** The key has a part that the relay chose; its hash is a safe name. */
function fileOf(key: string): string {
  return sha256Hex(key).slice(0, 40);
}
