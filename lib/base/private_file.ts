import { basename, dirname, join } from "@std/path";
import { showBytes } from "./bytes.ts";
import { messageOf, RunnerError, shown } from "./errors.ts";
import { randomHex } from "./secret.ts";

const WRITABLE_BY_OTHERS = 0o022;
const OPEN_TO_OTHERS = 0o077;
const OWNED_BY_OTHER = "owned by another user";
const WRITABLE = "writable by others";

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
    const exposed = exposure(info);
    const readable = Deno.build.os !== "windows" && ((info.mode ?? 0) & OPEN_TO_OTHERS) !== 0;
    if (exposed !== OWNED_BY_OTHER && rules.secret && readable) {
      return { ok: false, kind: "perm", problem: "readable by others" };
    }
    if (exposed !== null) return { ok: false, kind: "perm", problem: exposed };
    if (info.size > rules.maxBytes) {
      return { ok: false, kind: "size", problem: `larger than ${showBytes(rules.maxBytes)}` };
    }
    return { ok: true, text: await Deno.readTextFile(path) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      const lost = [path, dirname(path)].find(isLinkToNothing);
      if (lost === undefined) return { ok: false, kind: "missing", problem: "not found" };
      // Whoever made the link meant something by it, and is not to get the defaults instead (S-13).
      return { ok: false, kind: "kind", problem: lost === path ? LOST : `in ${shown(lost, 300)}, ${LOST}` };
    }
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      return { ok: false, kind: "io", problem: "permission denied" };
    }
    return { ok: false, kind: "io", problem: error instanceof Error ? error.message : String(error) };
  }
}

/** What is at a path, or where it leads when it is a link; null when that is nothing. */
function look(path: string, follow: boolean): Deno.FileInfo | null {
  try {
    return follow ? Deno.statSync(path) : Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** True when something is at a path, be it a link that leads nowhere. */
export function isThere(path: string): boolean {
  return look(path, false) !== null;
}

/** What is said of a link whose target is not there. */
export const LOST = "a link to nothing";

/** True for a symbolic link whose target does not exist. */
export function isLinkToNothing(path: string): boolean {
  return look(path, false)?.isSymlink === true && look(path, true) === null;
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

/** Says how others get at a directory or a file; null when they do not. Windows has no such modes. */
export function exposure(info: Deno.FileInfo): string | null {
  if (Deno.build.os === "windows") return null;
  if (info.uid !== null && info.uid !== Deno.uid()) return OWNED_BY_OTHER;
  return ((info.mode ?? 0) & WRITABLE_BY_OTHERS) !== 0 ? WRITABLE : null;
}

/**
 * Creates a directory (and those above it) for this user only. One that is there must be this user's own, not writable
 * by others and, unless `mayBeLink`, no link. Throws `E_CONFIG_PERM`, `E_STATE_WRITE`.
 */
export function ensurePrivateDir(path: string, { mayBeLink = false } = {}): void {
  const info = storing(path, () => look(path, mayBeLink));
  if (info === null) storing(path, () => Deno.mkdirSync(path, { recursive: true, mode: 0o700 }));
  else if (info.isSymlink) throw linked(path);
  else if (!info.isDirectory) {
    throw new RunnerError("E_STATE_WRITE", `Cannot write ${shown(path)}: not a directory`, place(path));
  } else refuseExposed(path, info, "700");
}

/**
 * Refuses a file for state that another user could change or have put there: one that is a link, that is not this
 * user's own or that others may write to (`E_CONFIG_PERM`), and what is no file (`E_STATE`). None at all is fine.
 *
 * Best effort: Deno has no O_NOFOLLOW, so the file could be another one when it is opened. Only this user can bring
 * that about as long as the directories of the path are as {@linkcode ensurePrivateDir} has them.
 */
export function checkStateFile(path: string): void {
  const info = storing(path, () => look(path, false));
  if (info === null) return;
  if (info.isSymlink) throw linked(path);
  if (!info.isFile) throw new RunnerError("E_STATE", "not a regular file", place(path));
  refuseExposed(path, info, "600");
}

function refuseExposed(path: string, info: Deno.FileInfo, mode: string): void {
  const problem = exposure(info);
  if (problem === null) return;
  throw new RunnerError("E_CONFIG_PERM", problem, {
    where: shown(path, 300),
    hint: problem === WRITABLE
      ? `see what is in it, then run chmod ${mode} ${shown(path, 300)}`
      : "move it away, or use another AGENT_RELAY_HOME",
  });
}

function linked(path: string): RunnerError {
  return new RunnerError("E_CONFIG_PERM", "a link, which state is not kept behind", place(path));
}

function place(path: string): { where: string; hint: string } {
  return { where: shown(path, 300), hint: "move it away" };
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
 * it is there already (also when another process was faster): a hard link, unlike a rename, never replaces. Throws
 * `E_STATE_WRITE`.
 */
export function writeFileOnce(path: string, text: string): boolean {
  const temporary = join(dirname(path), `.${basename(path)}.${randomHex(6)}.tmp`);
  return storing(path, () => {
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
  });
}

/**
 * Makes sure that a file exists and is 0600, without touching what is in it. For files that somebody else (SQLite)
 * opens and whose side files take over its mode. Throws as {@linkcode checkStateFile} does, and `E_STATE_WRITE`.
 */
export function ensurePrivateFile(path: string): void {
  checkStateFile(path);
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
