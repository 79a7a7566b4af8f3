/** The terminal's state before the agent had it. */
export interface SavedTerminal {
  /**
   * Puts the line discipline back, and after an agent that was killed also screen, mouse, cursor and paste mode.
   * After a clean end those are right already, and leaving the alternate screen twice would move the cursor.
   */
  restore(how: "clean" | "killed"): Promise<void>;
}

/** Ends the modes that the agents switch on; each is harmless when it is off. */
const RESET =
  "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?2026l\x1b[<u\x1b[?25h\x1b[0m";

/** Remembers the terminal's state. Without `stty` (Windows) there is no line discipline to put back. */
export async function saveTerminal(): Promise<SavedTerminal> {
  const saved = await stty(["-g"]);
  let restored = false;
  return {
    async restore(how) {
      if (restored) return;
      restored = true;
      if (saved !== null) await stty([saved.trim()]);
      if (how === "killed") Deno.stdout.writeSync(new TextEncoder().encode(RESET));
    },
  };
}

async function stty(args: string[]): Promise<string | null> {
  if (Deno.build.os === "windows") return null;
  try {
    const { code, stdout } = await new Deno.Command("stty", {
      args,
      stdin: "inherit",
      stdout: "piped",
      stderr: "null",
    }).output();
    return code === 0 ? new TextDecoder().decode(stdout) : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
