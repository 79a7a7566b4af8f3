import { type Clock, TIMED_OUT, withDeadline } from "../base/clock.ts";

/** What became of a small program that was asked for something. */
export type Answer =
  | { state: "ended"; code: number; out: string; err: string }
  /** It is not on this machine. */
  | { state: "missing" }
  /** It did not end in time, and was killed. */
  | { state: "silent" };

/** How to ask. */
export interface AskOptions {
  clock: Clock;
  timeoutMs: number;
  stdin?: "null" | "inherit";
  cwd?: string;
  /** Its complete environment; ours when left out. */
  env?: Record<string, string>;
}

/**
 * Runs a small program (`ps`, `tmux`, an agent's `--version`) to its end and returns what it said. It is started before
 * this returns its promise. Rejects only when a process cannot be started at all.
 */
export async function ask(command: string, args: readonly string[], options: AskOptions): Promise<Answer> {
  const { clock, timeoutMs, stdin = "null", cwd, env } = options;
  try {
    const child = new Deno.Command(command, {
      args: [...args],
      stdin,
      stdout: "piped",
      stderr: "piped",
      ...(cwd === undefined ? {} : { cwd }),
      ...(env === undefined ? {} : { env, clearEnv: true }),
    }).spawn();
    // Not only a signal: what a wrapper left behind may keep the pipe open.
    const output = await withDeadline(clock, timeoutMs, child.output());
    if (output === TIMED_OUT) {
      try {
        child.kill("SIGKILL");
      } catch { /* it ended, and another one holds its outputs */ }
      return { state: "silent" };
    }
    const decoder = new TextDecoder();
    return {
      state: "ended",
      code: output.code,
      out: decoder.decode(output.stdout),
      err: decoder.decode(output.stderr),
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { state: "missing" };
    throw error;
  }
}
