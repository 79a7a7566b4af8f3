import type { Clock } from "../../base/clock.ts";
import type { Io } from "../contract.ts";
import { withoutOldCommands } from "../github_commands.ts";
import { OutputQueue, type OutputSink } from "./output_queue.ts";

/** How long the end of a run waits for a reader that takes nothing. */
const STALL_MS = 5_000;
/** The same when the run was ended by a second signal, all of which has 2 s. */
const HARD_STALL_MS = 300;

/** The outputs of a run, which never hold it up. */
export interface RunIo {
  /** `io` whose `out` and `err` return at once. */
  io: Io;
  /** Why a part of standard output was lost, null when none was. */
  readonly lost: string | null;
  /** Hears once for each output that a part of it is lost, and why. */
  onTrouble(listener: (message: string) => void): void;
  /** Nothing that is said from now on is dropped. */
  last(): void;
  /** Resolves when all is written; false when standard error takes nothing, and nothing may be written there any more. */
  end(hard: boolean): Promise<boolean>;
}

/** Returns the outputs of a run: its lines are JSON (`jsonl`) or text, and say so where some are left out. */
export function runIo(
  io: Io,
  { clock, form, sinks = { out: Deno.stdout, err: Deno.stderr } }: {
    clock: Clock;
    form: "text" | "jsonl";
    sinks?: { out: OutputSink; err: OutputSink };
  },
): RunIo {
  let tell: ((message: string) => void) | null = null;
  const github = io.env.GITHUB_ACTIONS === "true";
  const queue = (name: string, sink: OutputSink, dropped: (characters: number) => string) =>
    new OutputQueue({
      sink,
      clock,
      dropped,
      // The guard before the agent's words must not be what is dropped; and GitHub's runner does read.
      ...(github ? { limit: Infinity } : {}),
      trouble: (why) => tell?.(`a part of ${name} is lost: ${why}`),
    });
  const text = (characters: number) =>
    `\n[runner: ${characters} characters were dropped, nobody read them]\n`;
  const out = queue(
    "standard output",
    sinks.out,
    form === "text" ? text : (characters) => JSON.stringify({ type: "dropped", characters }) + "\n",
  );
  const err = queue("standard error", sinks.err, text);
  return {
    io: {
      ...io,
      out: (said) => out.write(said),
      err: (said) => err.write(github ? withoutOldCommands(said, "text") : said),
    },
    get lost() {
      return out.trouble;
    },
    onTrouble(listener) {
      tell = listener;
    },
    last: () => out.last(),
    async end(hard) {
      const stallMs = hard ? HARD_STALL_MS : STALL_MS;
      await Promise.all([out.end(stallMs), err.end(stallMs)]);
      return err.trouble === null;
    },
  };
}
