import { join } from "@std/path";
import type { TestHome } from "./runner_process.ts";
import { until } from "./temp.ts";

/** True when the command is on PATH. */
export async function onPath(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).output())
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Begins a script that says `setsid`, which comes with util-linux only. */
export const SETSID = Deno.build.os === "darwin"
  ? `setsid() { exec perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV' "$@"; }\n`
  : "";

/**
 * Puts a `runner` with its links into a directory: it completes as the program under test does, and says the words that
 * it was called with instead of doing anything.
 */
export function sayingRunner(dir: string, { program }: TestHome): string {
  const bin = join(dir, "bin");
  Deno.mkdirSync(bin);
  const words = [program.command, ...program.args].map((word) => `'${word}'`).join(" ");
  Deno.writeTextFileSync(
    join(bin, "runner"),
    `#!/bin/sh\ncase $1 in __complete|completions) exec ${words} "$@" ;; esac\nprintf 'called:'; ` +
      `printf '<%s>' "$@"; echo\n`,
    { mode: 0o755 },
  );
  for (const name of ["claude-relay", "codex-relay"]) Deno.symlinkSync("runner", join(bin, name));
  return bin;
}

/** An interactive shell on a terminal of its own, by util-linux's `script`. */
export class TypedShell {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #seen = "";

  constructor(command: string, options: { cwd: string; env: Record<string, string> }) {
    this.#child = new Deno.Command("script", {
      args: ["-q", "-f", "-c", command, "/dev/null"],
      ...options,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Types the keys and returns what is on the terminal since, once it matches. */
  async type(keys: string, match: RegExp): Promise<string> {
    const before = this.#seen.length;
    await this.#keys.write(new TextEncoder().encode(keys));
    const since = () => this.#seen.slice(before);
    try {
      await until(`${match}`, () => match.test(since()));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; the terminal says:\n${this.#seen}`);
    }
    return since();
  }

  /** Ends the shell as a terminal that is closed does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keys.abort().catch(() => {});
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#reading;
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) this.#seen += text;
  }
}
