import { TERMINAL_RESET } from "../../process/guard_script.ts";

/** The terminal's state before the agent had it. */
export interface SavedTerminal {
  /** Its device and what `stty -g` said, for the guard; null when either is not known. */
  readonly device: { path: string; modes: string } | null;
  /**
   * Puts the line discipline back, and after an agent that was killed also screen, mouse, cursor and paste mode.
   * After a clean end those are right already, and leaving the alternate screen twice would move the cursor. Returns
   * when it is done: the next agent may be started at once.
   */
  restore(how: "clean" | "killed"): void;
}

/** Remembers the terminal's state. Without `stty` (Windows) there is no line discipline to put back. */
export async function saveTerminal(): Promise<SavedTerminal> {
  const [saved, path] = await Promise.all([ask("stty", ["-g"]), ask("tty", [])]);
  const device = saved === null || path === null || !/^\/dev\/[A-Za-z0-9/]+$/.test(path.trim())
    ? null
    : { path: path.trim(), modes: saved.trim() };
  return {
    device,
    restore(how) {
      if (saved !== null) command("stty", [saved.trim()]).outputSync();
      if (how === "killed") Deno.stdout.writeSync(new TextEncoder().encode(TERMINAL_RESET));
    },
  };
}

function command(name: "stty" | "tty", args: string[]): Deno.Command {
  return new Deno.Command(name, { args, stdin: "inherit", stdout: "piped", stderr: "null" });
}

async function ask(name: "stty" | "tty", args: string[]): Promise<string | null> {
  if (Deno.build.os === "windows") return null;
  try {
    const { code, stdout } = await command(name, args).output();
    return code === 0 ? new TextDecoder().decode(stdout) : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
