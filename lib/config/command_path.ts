import { dirname, isAbsolute, join, resolve } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";

const EXECUTABLE = 0o111;
/** `e_machine` of the ELF header. */
const ELF_MACHINE: Readonly<Record<string, number>> = { x86_64: 62, aarch64: 183 };

/**
 * Returns the absolute path of a provider's command, resolved once. Names are looked up on PATH, where relative
 * entries and directories that everybody may write to are passed over. Throws `E_PROVIDER_CMD`.
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
 * Refuses an ELF file of another machine. The system would not: when it cannot run a file, it gives it to the shell as a
 * script, and what comes out is a syntax error.
 */
function checkFormat(path: string, name: string): string {
  if (Deno.build.os !== "linux") return path;
  const head = new Uint8Array(20);
  const file = Deno.openSync(path);
  let length: number;
  try {
    length = file.readSync(head) ?? 0;
  } finally {
    file.close();
  }
  if (head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46) return path;
  if (length === head.length && (head[18]! | (head[19]! << 8)) === ELF_MACHINE[Deno.build.arch]) return path;
  throw new RunnerError("E_PROVIDER_CMD", `"${name}" cannot be run: exec format error`, {
    where: shown(path, 300),
    hint: "the file is for another machine, or damaged",
  });
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
