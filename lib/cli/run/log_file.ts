import { dirname, join } from "@std/path";
import { jsonLine, type LogLine, type LogSink } from "../../base/logger.ts";
import { checkStateFile, ensurePrivateDir } from "../../base/private_file.ts";

const FILE_BYTES = 10 * 1024 * 1024;
/** Files of a log: the one that is written, and the rotated ones `.1` to `.4`. */
export const FILES = 5;

/** Lines kept until it is known where they go. */
const EARLY_LINES = 100;

/** A sink into a private file that is rotated: at most 5 files of 10 MiB. */
export interface LogFile {
  sink: LogSink;
  /** Begins to write; what was logged before comes first. Throws what opening a file throws, and `E_CONFIG_PERM`. */
  open(path: string): void;
  /** Idempotent. */
  close(): void;
}

/** The log of an agent. */
export function logFileOf(logsDir: string, agentId: string): string {
  return join(logsDir, `${agentId}.log`);
}

const LOG_NAME = /^(.+)\.log(?:\.([1-4]))?$/;

/** Returns whose log a file is by its name, and whether it was rotated; null for a file that is no log. */
export function ownerOfLog(name: string): { agentId: string; rotated: boolean } | null {
  const [, agentId, number] = LOG_NAME.exec(name) ?? [];
  return agentId === undefined ? null : { agentId, rotated: number !== undefined };
}

/**
 * Returns a log file whose path is not known yet: an agent's id depends on the place that it gets, and what happens on the
 * way there belongs into its log as well. Its lines are JSON. When the disk is full, lines are lost and nothing else happens.
 */
export function createLogFile(): LogFile {
  let target: { path: string; file: Deno.FsFile; size: number } | null = null;
  let early: LogLine[] | null = [];
  const encoder = new TextEncoder();
  const write = (line: LogLine) => {
    if (target === null) return;
    if (target.size > FILE_BYTES) rotated(target);
    target.size += target.file.writeSync(encoder.encode(jsonLine(line)));
  };
  return {
    sink(line) {
      if (early === null) write(line);
      else if (early.length < EARLY_LINES) early.push(line);
    },
    open(path) {
      ensurePrivateDir(dirname(path));
      const file = append(path);
      target = { path, file, size: file.statSync().size };
      const lines = early ?? [];
      early = null;
      for (const line of lines) {
        try {
          write(line);
        } catch { /* as for later lines, of which the logger swallows it */ }
      }
    },
    close() {
      target?.file.close();
      target = null;
      early = null;
    },
  };
}

/** Goes on in a new file; in the old one, under its new name, when there is no descriptor or no room for another. */
function rotated(target: { path: string; file: Deno.FsFile; size: number }): void {
  target.size = 0;
  // Windows renames no file that is open.
  if (Deno.build.os === "windows") target.file.close();
  rotate(target.path);
  try {
    const next = append(target.path);
    if (Deno.build.os !== "windows") target.file.close();
    target.file = next;
  } catch { /* tried again when as much has been written */ }
}

function append(path: string): Deno.FsFile {
  checkStateFile(path);
  return Deno.openSync(path, { append: true, create: true, mode: 0o600 });
}

function rotate(path: string): void {
  for (let i = FILES - 1; i >= 1; i--) {
    try {
      Deno.renameSync(i === 1 ? path : `${path}.${i - 1}`, `${path}.${i}`);
    } catch { /* not there yet */ }
  }
}
