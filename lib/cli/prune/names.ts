/** What an entry of a directory is, never that of what a link leads to. */
export interface Entry {
  name: string;
  isFile: boolean;
  isDirectory: boolean;
  isSymlink: boolean;
}

/** What something in an agent's directory is by its name; `own` is what goes only together with the agent. */
export type EntryKind = "own" | "plugin" | "temporary" | "unknown";

const FILES: ReadonlySet<string> = new Set([
  "lock",
  "run.json",
  "journal.db",
  "journal.db-wal",
  "journal.db-shm",
  "journal.db-journal",
  "admin.json",
  "control.json",
  "conversations.json",
  "claude-settings.json",
  "echo.log",
]);
const BODY = /^[0-9a-f]{40}$/;
const MAIL = /^[0-9a-f-]{36}\.txt$/;
const SOCKET = /^claude-\d+\.sock$/;
const PLUGIN = /^plugin-[0-9a-f]{12}$/;
const PLUGIN_BEGUN = /^\.plugin-[0-9a-f]{12}\.tmp$/;
/** As `writeFileAtomic` names its files before they are whole. */
const TEMPORARY = /^\.(.+)\.[0-9a-f]{12}\.tmp$/;
const ASIDE = /^\.pruned-[0-9a-f]{12}$/;
/** As a damaged journal is put aside: the time, with dashes for what not every system has in names. */
const QUARANTINED = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d)-(\d{3}Z)-journal\.db(?:-wal|-shm)?$/;
/** Directories of an agent, with the names of what is in them; also there a file may be half written. */
const DIRECTORIES: Readonly<Record<string, RegExp>> = { bodies: BODY, mail: MAIL, quarantine: QUARANTINED };

/** Returns what an entry of an agent's directory is. A link is never what its name says. */
export function agentEntryKind({ name, isFile, isDirectory, isSymlink }: Entry): EntryKind {
  if (isSymlink) return "unknown";
  if (isFile) {
    if (FILES.has(name)) return "own";
    return FILES.has(TEMPORARY.exec(name)?.[1] ?? "") ? "temporary" : "unknown";
  }
  if (!isDirectory) return SOCKET.test(name) ? "own" : "unknown";
  if (Object.hasOwn(DIRECTORIES, name)) return "own";
  return PLUGIN.test(name) ? "plugin" : PLUGIN_BEGUN.test(name) ? "temporary" : "unknown";
}

/** The directories of an agent whose entries have names of a kind. */
export const DIRECTORY_NAMES: readonly string[] = Object.keys(DIRECTORIES);

/** True for what a runner puts into that directory of an agent. */
export function isKnownIn(directory: string, { name, isFile }: Entry): boolean {
  const names = DIRECTORIES[directory];
  return isFile && names !== undefined && names.test(TEMPORARY.exec(name)?.[1] ?? name);
}

/** True for the file of a text that was not yet whole when its write was interrupted. */
export function isTemporaryBody({ name, isFile }: Entry): boolean {
  return isFile && BODY.test(TEMPORARY.exec(name)?.[1] ?? "");
}

/** True for the token's file that was not yet whole when its write was interrupted. */
export function isTemporaryToken({ name, isFile }: Entry): boolean {
  return isFile && TEMPORARY.exec(name)?.[1] === "relay.token";
}

/** Returns when a journal was put aside, in milliseconds since 1970; null for what is none. */
export function quarantinedAt({ name, isFile }: Entry): number | null {
  const [, hour, minute, second, rest] = isFile ? QUARANTINED.exec(name) ?? [] : [];
  if (hour === undefined) return null;
  const at = Date.parse(`${hour}:${minute}:${second}.${rest}`);
  return Number.isNaN(at) ? null : at;
}

/** Returns the name under which something waits for its removal, out of everybody's way. */
export function asideName(hex: string): string {
  return `.pruned-${hex}`;
}

/** True for what an interrupted prune has moved aside. */
export function isAside({ name, isSymlink }: Entry): boolean {
  return !isSymlink && ASIDE.test(name);
}
