import { dirname, isAbsolute, join, resolve } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";

const EXECUTABLE = 0o111;
/** `e_machine` of the ELF header. */
const ELF_MACHINE: Readonly<Record<string, number>> = { x86_64: 62, aarch64: 183 };
/** Length of the 64-bit ELF header and of an entry of its program table, and the type of one that is loaded. */
const ELF_HEADER = 64;
const PROGRAM_HEADER = 56;
const LOADED = 1;
/** Read of a file to tell what it is. */
const HEAD_BYTES = 4_096;

/**
 * Returns the absolute path of a provider's command, resolved once. Names are looked up on PATH, where relative
 * entries and directories that everybody may write to are passed over. A path is refused where such an entry is passed
 * over (S-12): what it names would depend on the directory, or on somebody else. Throws `E_PROVIDER_CMD`.
 */
export function resolveCommand(
  command: string,
  options: { cwd: string; path: string | undefined; provider: string },
): string {
  const name = shown(command);
  const file = `providers/${options.provider}.json`;
  if (command.includes("/") || (Deno.build.os === "windows" && command.includes("\\"))) {
    if (!isAbsolute(command)) {
      // A repository could bring one along.
      throw new RunnerError("E_PROVIDER_CMD", `"${name}" is not an absolute path`, {
        hint: `write ${
          shown(resolve(options.cwd, command), 200)
        } as command in ${file}, if that is what you mean`,
      });
    }
    const path = command;
    if (kindOf(path) === "program" && isOpenToAll(dirname(path))) {
      throw new RunnerError("E_PROVIDER_CMD", `"${name}" is in a directory that everybody may write to`, {
        where: shown(dirname(path), 300),
        hint: "move it, or take the permission away",
      });
    }
    const kind = kindOf(path);
    if (kind === "program") return checkFormat(path, name);
    if (kind === "missing") {
      throw new RunnerError("E_PROVIDER_CMD", `"${name}" not found`, { hint: `correct command in ${file}` });
    }
    throw notExecutable(name, path);
  }
  let blocked: string | null = null;
  const windows = Deno.build.os === "windows";
  const suffixes = windows ? ["", ".exe", ".cmd"] : [""];
  for (const dir of (options.path ?? "").split(windows ? ";" : ":")) {
    if (!isAbsolute(dir) || isOpenToAll(dir)) continue;
    for (const suffix of suffixes) {
      const path = join(dir, command + suffix);
      const kind = kindOf(path);
      if (kind === "program") return checkFormat(path, name);
      if (kind === "blocked") blocked ??= path;
    }
  }
  if (blocked !== null) throw notExecutable(name, blocked);
  throw new RunnerError("E_PROVIDER_CMD", `"${name}" not found on PATH`, {
    hint: `install it or set command in ${file}`,
  });
}

/**
 * Refuses what the system cannot run: an ELF file that is cut or of another machine, and what is neither that nor text.
 * The system would not refuse it: what it cannot run it gives to the shell as a script, and what comes out is a syntax
 * error, or worse.
 */
function checkFormat(path: string, name: string): string {
  if (Deno.build.os !== "linux" || isRunnable(path)) return path;
  throw new RunnerError("E_PROVIDER_CMD", `"${name}" cannot be run: exec format error`, {
    where: shown(path, 300),
    hint: "the file is for another machine, or damaged",
  });
}

function isRunnable(path: string): boolean {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
  } catch {
    // One may be allowed to run what one may not read.
    return true;
  }
  try {
    const head = new Uint8Array(HEAD_BYTES);
    const start = head.subarray(0, file.readSync(head) ?? 0);
    if (begins(start, [0x7f, 0x45, 0x4c, 0x46])) return isWholeProgram(start, file.statSync().size);
    return begins(start, [0x23, 0x21]) || (start.length > 0 && start.every(isText));
  } finally {
    file.close();
  }
}

function begins(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((each, i) => bytes[i] === each);
}

/** No byte of a text: NUL and other control characters but white space, escape and what begins or ends a line. */
function isText(byte: number): boolean {
  return byte >= 0x20 ? byte !== 0x7f : byte === 0x1b || (byte >= 0x08 && byte <= 0x0d);
}

/** True for a program of this machine of which everything is there that the system loads. */
function isWholeProgram(head: Uint8Array, size: number): boolean {
  if (head.length < ELF_HEADER) return false;
  const view = new DataView(head.buffer);
  const type = view.getUint16(16, true);
  const machine = view.getUint16(18, true);
  // A program, or a shared object, as most programs are by now.
  if ((type !== 2 && type !== 3) || machine !== ELF_MACHINE[Deno.build.arch]) return false;
  const [at, length, count] = [
    Number(view.getBigUint64(32, true)),
    view.getUint16(54, true),
    view.getUint16(56, true),
  ];
  if (count === 0 || at + length * count > size) return false;
  for (let entry = at; entry < at + length * count; entry += length) {
    // They follow the header as a rule; where they do not, what is said of them has to do.
    if (length < PROGRAM_HEADER || entry + PROGRAM_HEADER > head.length) break;
    if (view.getUint32(entry, true) !== LOADED) continue;
    if (Number(view.getBigUint64(entry + 8, true) + view.getBigUint64(entry + 32, true)) > size) return false;
  }
  return true;
}

function notExecutable(name: string, path: string): RunnerError {
  return new RunnerError("E_PROVIDER_CMD", `"${name}" cannot be run: permission denied`, {
    where: shown(path, 300),
    hint: `make it executable: chmod +x`,
  });
}

function kindOf(path: string): "program" | "blocked" | "missing" {
  try {
    const info = Deno.statSync(path);
    if (!info.isFile) return "missing";
    return Deno.build.os === "windows" || ((info.mode ?? 0) & EXECUTABLE) !== 0 ? "program" : "blocked";
  } catch {
    return "missing";
  }
}

function isOpenToAll(dir: string): boolean {
  try {
    const mode = Deno.statSync(dir).mode ?? 0;
    // A sticky directory (/tmp) still lets anybody plant a file of a name that is not there yet.
    return Deno.build.os !== "windows" && (mode & 0o002) !== 0;
  } catch {
    return true;
  }
}
