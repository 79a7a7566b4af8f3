import { systemClock } from "../../base/clock.ts";
import { ask } from "../../process/ask.ts";
import { TERMINAL_RESET } from "../../process/guard_script.ts";

/** Longest time until the terminal is known, or not. */
const ASK_MS = 2_000;

/** The terminal's state before the agent had it. */
export interface SavedTerminal {
  /** Its device and what `stty -g` said, for the guard; null when either is not known. */
  readonly device: { path: string; modes: string } | null;
  /**
   * Puts the line discipline back, and after an agent that was killed also screen, mouse, cursor and paste mode.
   * After a clean end those are right already, and leaving the alternate screen twice would move the cursor. Returns
   * when it is done: the next agent may be started at once. Never throws: of a terminal that is closed there is
   * nothing left to put back, and the run has to end all the same.
   */
  restore(how: "clean" | "killed"): void;
}

/** Remembers the terminal's state. Without `stty` (Windows) there is no line discipline to put back. */
export async function saveTerminal(): Promise<SavedTerminal> {
  const [saved, path] = await Promise.all([say("stty", ["-g"]), say("tty", [])]);
  const device = saved === null || path === null || !/^\/dev\/[A-Za-z0-9/]+$/.test(path.trim())
    ? null
    : { path: path.trim(), modes: saved.trim() };
  return {
    device,
    restore(how) {
      try {
        if (saved !== null) new Deno.Command("stty", { args: [saved.trim()], stdin: "inherit" }).outputSync();
      } catch { /* no process can be started: what follows is still worth its while */ }
      try {
        if (how === "killed") Deno.stdout.writeSync(new TextEncoder().encode(TERMINAL_RESET));
      } catch { /* EIO: it is closed */ }
    },
  };
}

/** What one of the two says of the terminal; null without it, or when there is none. */
async function say(name: "stty" | "tty", args: string[]): Promise<string | null> {
  if (Deno.build.os === "windows") return null;
  const answer = await ask(name, args, { clock: systemClock, timeoutMs: ASK_MS, stdin: "inherit" });
  return answer.state === "ended" && answer.code === 0 ? answer.out : null;
}
