import { isAbsolute, join, resolve } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";

const EXECUTABLE = 0o111;

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
    const path = isAbsolute(command) ? command : resolve(options.cwd, command);
    const kind = kindOf(path);
    if (kind === "program") return path;
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
      if (kind === "program") return path;
      if (kind === "blocked") blocked ??= path;
    }
  }
  if (blocked !== null) throw notExecutable(name, blocked);
  throw new RunnerError("E_PROVIDER_CMD", `"${name}" not found on PATH`, {
    hint: `install it or set command in ${file}`,
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
