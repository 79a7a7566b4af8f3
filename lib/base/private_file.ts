import { basename, dirname, join } from "@std/path";
import { messageOf, RunnerError, shown } from "./errors.ts";
import { randomHex } from "./secret.ts";

const WRITABLE_BY_OTHERS = 0o022;
const OPEN_TO_OTHERS = 0o077;

/** What {@linkcode readPrivateFile} found. `problem` is a clause for an error message. */
export type PrivateFile =
  | { ok: true; text: string }
  | { ok: false; kind: "missing" | "kind" | "perm" | "size" | "io"; problem: string };

/** What a file must be like to be read. */
export interface ReadRules {
  maxBytes: number;
  /** True for secrets: others may not even read it. */
  secret: boolean;
}

/**
 * Reads a file that only its owner may change: a regular file of this user, of bounded size, not writable by
 * others (and for secrets not readable by them). Never blocks on a FIFO or a device, never throws.
 */
export async function readPrivateFile(path: string, rules: ReadRules): Promise<PrivateFile> {
  try {
    const info = await Deno.stat(path);
    if (!info.isFile) return { ok: false, kind: "kind", problem: "not a regular file" };
    if (Deno.build.os !== "windows") {
      const mode = info.mode ?? 0;
      if (info.uid !== null && info.uid !== Deno.uid()) {
        return { ok: false, kind: "perm", problem: "owned by another user" };
      }
      if (rules.secret && (mode & OPEN_TO_OTHERS) !== 0) {
        return { ok: false, kind: "perm", problem: "readable by others" };
      }
      if ((mode & WRITABLE_BY_OTHERS) !== 0) {
        return { ok: false, kind: "perm", problem: "writable by others" };
      }
    }
    if (info.size > rules.maxBytes) {
      return { ok: false, kind: "size", problem: `larger than ${showSize(rules.maxBytes)}` };
    }
    return { ok: true, text: await Deno.readTextFile(path) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { ok: false, kind: "missing", problem: "not found" };
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      return { ok: false, kind: "io", problem: "permission denied" };
    }
    return { ok: false, kind: "io", problem: error instanceof Error ? error.message : String(error) };
  }
}

function showSize(bytes: number): string {
  return bytes >= 1024 * 1024 ? `${bytes / 1024 / 1024} MiB` : `${bytes / 1024} KiB`;
}

/**
 * Does something that changes files; what the file system says against it (full, read-only, not permitted) becomes
 * `E_STATE_WRITE`, which names the place.
 */
export function storing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    throw new RunnerError("E_STATE_WRITE", `Cannot write ${shown(path)}: ${messageOf(error)}`, {
      hint: "make room there, or make the directory writable",
      cause: error,
    });
  }
}

/** Creates a directory (and those above it) for this user only. An existing one is left as it is. */
export function ensurePrivateDir(path: string): void {
  storing(path, () => Deno.mkdirSync(path, { recursive: true, mode: 0o700 }));
}

/**
 * Writes a file 0600 so that a reader sees the old or the new text, never a part: temporary file, fsync, rename,
 * fsync of the directory. The temporary file is gone on every path. Throws `E_STATE_WRITE`.
 */
export function writeFileAtomic(path: string, text: string): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomHex(6)}.tmp`);
  storing(path, () => {
    writeNew(temporary, text);
    try {
      Deno.renameSync(temporary, path);
    } catch (error) {
      Deno.removeSync(temporary);
      throw error;
    }
    syncDir(dirname(path));
  });
}

/**
 * Writes a file 0600 that does not exist yet, complete from the first moment it can be seen. Returns false when
 * it is there already (also when another process was faster): a hard link, unlike a rename, never replaces.
 */
export function writeFileOnce(path: string, text: string): boolean {
  const temporary = join(dirname(path), `.${basename(path)}.${randomHex(6)}.tmp`);
  writeNew(temporary, text);
  try {
    Deno.linkSync(temporary, path);
    syncDir(dirname(path));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  } finally {
    Deno.removeSync(temporary);
  }
}

/**
 * Makes sure that a file exists and is 0600, without touching what is in it. For files that somebody else (SQLite)
 * opens and whose side files take over its mode.
 */
export function ensurePrivateFile(path: string): void {
  storing(path, () => {
    Deno.openSync(path, { append: true, create: true, mode: 0o600 }).close();
    if (Deno.build.os !== "windows") Deno.chmodSync(path, 0o600);
  });
}

function writeNew(path: string, text: string): void {
  const file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  try {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
  } catch (error) {
    file.close();
    Deno.removeSync(path);
    throw error;
  }
  file.close();
}

/** Makes what was renamed or removed in a directory last through a loss of power, as far as the system has it. */
export function syncDir(path: string): void {
  if (Deno.build.os === "windows") return;
  const dir = Deno.openSync(path, { read: true });
  try {
    dir.syncSync();
  } finally {
    dir.close();
  }
}
