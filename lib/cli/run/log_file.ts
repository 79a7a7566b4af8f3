import { dirname } from "@std/path";
import { jsonLine, type LogSink } from "../../base/logger.ts";
import { ensurePrivateDir } from "../../base/private_file.ts";

const FILE_BYTES = 10 * 1024 * 1024;
const FILES = 5;

/** A sink into a private file that is rotated: at most 5 files of 10 MiB. */
export interface LogFile {
  sink: LogSink;
  close(): void;
}

/** Opens a log file; its lines are JSON. When the disk is full, lines are lost and nothing else happens. */
export function openLogFile(path: string): LogFile {
  ensurePrivateDir(dirname(path));
  let file = open(path);
  let size = file.statSync().size;
  let closed = false;
  const encoder = new TextEncoder();
  return {
    sink(line) {
      if (closed) return;
      if (size > FILE_BYTES) {
        file.close();
        rotate(path);
        file = open(path);
        size = 0;
      }
      const bytes = encoder.encode(jsonLine(line));
      size += file.writeSync(bytes);
    },
    close() {
      if (!closed) file.close();
      closed = true;
    },
  };
}

function open(path: string): Deno.FsFile {
  return Deno.openSync(path, { append: true, create: true, mode: 0o600 });
}

function rotate(path: string): void {
  for (let i = FILES - 1; i >= 1; i--) {
    try {
      Deno.renameSync(i === 1 ? path : `${path}.${i - 1}`, `${path}.${i}`);
    } catch { /* not there yet */ }
  }
}
