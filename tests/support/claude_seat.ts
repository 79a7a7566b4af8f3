import { join } from "@std/path";
import { gone, type Seat, withSeat } from "./seat.ts";

/** Defines a test with Claude Code in a terminal. */
export function seat(name: string, work: (seat: Seat) => Promise<void>, flags: readonly string[] = []): void {
  Deno.test(`claude in the terminal: ${name}`, () => withSeat("claude", flags, work));
}

/** What Claude says of its own session. */
export function sessionOf({ dir }: Seat): { pid: number; sessionId: string } {
  const sessions = join(dir, "claude", "sessions");
  const file = [...Deno.readDirSync(sessions)].find(({ name }) => /^\d+\.json$/.test(name))!;
  return JSON.parse(Deno.readTextFileSync(join(sessions, file.name))) as { pid: number; sessionId: string };
}

/** The conversation's id; the file may be half written. */
export function conversationOf(seat: Seat): string | null {
  try {
    return sessionOf(seat).sessionId;
  } catch {
    return null;
  }
}

/** The person quits; the terminal must be as it was. */
export async function quit(seat: Seat): Promise<void> {
  await seat.terminal.press("C-u");
  await command(seat, "/exit");
  await gone(seat, 0);
}

/** Answers the permission dialog with a key: Enter allows, Escape refuses. */
export async function answer({ terminal }: Seat, key: "Enter" | "Escape"): Promise<void> {
  await terminal.pressUntil(key, "the end of the dialog", async () => !DIALOG.test(await terminal.capture()));
}

/** A permission dialog on the screen. */
export const DIALOG = /Do you want to proceed|1\. Yes/;

/** Types one of Claude's own commands. */
export async function command({ terminal }: Seat, name: string): Promise<void> {
  await terminal.type(name);
  // The list of commands must be there, or Enter takes the line as it stood before.
  await terminal.untilShows(new RegExp(`${name}\\b[\\s\\S]*${name}\\b`));
  await terminal.press("Enter");
}
