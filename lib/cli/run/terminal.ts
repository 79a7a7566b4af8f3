/** The terminal's state before the agent had it. */
export interface SavedTerminal {
  /** Puts it back, whatever the agent left: line discipline, screen, mouse, cursor, paste mode. Idempotent. */
  restore(): Promise<void>;
}

/** Ends the modes that the agents switch on; each is harmless when it is off. */
const RESET =
  "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?2026l\x1b[<u\x1b[?25h\x1b[0m";

/** Remembers the terminal's state. Without `stty` (Windows) only the modes are reset. */
export async function saveTerminal(): Promise<SavedTerminal> {
  const saved = await stty(["-g"]);
  let restored = false;
  return {
    async restore() {
      if (restored) return;
      restored = true;
      if (saved !== null) await stty([saved.trim()]);
      Deno.stdout.writeSync(new TextEncoder().encode(RESET));
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
