import type { Clock } from "../base/clock.ts";
import { TIMED_OUT, withDeadline } from "../base/clock.ts";
import { lines } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { GUARD_SCRIPT } from "./guard_script.ts";

/** A sweep looks until two scans in a row are empty: two rounds of about 0.1 s, 40 when something forks all the time. */
const SWEEP_MS = 10_000;
/** A guard that has not answered by then is told to go on: somebody may have stopped it. */
const WAKE_MS = 1_000;
/** Then it is replaced; the next one is asked the same. */
const REPLACE_MS = 5_000;
/** Pause before a dead guard is replaced, so that a broken shell is no busy loop. */
const RESPAWN_MS = 250;
const RESPAWN_CAP_MS = 2_000;

/** Ends what a run has started when the run itself cannot; see {@linkcode GUARD_SCRIPT}. */
export interface Guard {
  readonly pid: number;
  /** Takes a process group under guard. */
  add(pgid: number): void;
  remove(pgid: number): void;
  /**
   * Kills everything that carries the run's marker, or the marker `NAME=VALUE` that is given; resolves with the number
   * of signals sent, -1 when it timed out.
   */
  sweep(marker?: string): Promise<number>;
  /** Arms the watchdog: the runner is killed, and its tree with it, when it still lives after `ms`. 0 disarms. */
  deadline(ms: number): void;
  /** Ends the guard without touching anything. Idempotent. */
  dispose(): Promise<void>;
}

/** A terminal as it was before the agent had it: device, and what `stty -g` said. */
export interface GuardedTerminal {
  path: string;
  modes: string;
}

/** Starts the guard of a run. It runs in its own session, so that a closing terminal does not end it. */
export function startGuard(
  options: { runId: string; clock: Clock; log: Log; terminal?: GuardedTerminal | null },
): Guard {
  const { runId, clock, log, terminal = null } = options;
  const groups = new Set<number>();
  /** Sweeps without an answer yet. A guard that takes the place of a dead one is asked them again. */
  const waiting = new Map<string, { line: string; answer(count: number): void }>();
  let token = 0;
  let deadlineAt: number | null = null;
  let over = false;
  let cancelRespawn: (() => void) | null = null;
  let live = start();

  function start() {
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", GUARD_SCRIPT, "relay-guard", runId, String(Deno.pid)],
      clearEnv: true,
      env: { PATH: "/usr/local/bin:/usr/bin:/bin" },
      cwd: "/",
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      detached: true,
    }).spawn();
    const writer = child.stdin.getWriter();
    const reading = read(child.stdout).catch(() => {});
    const ended = child.status.then(async () => {
      await reading;
      await writer.abort().catch(() => {});
      if (over) return;
      log.warn("the guard ended, starting another one");
      respawn(0);
    });
    const fresh = { child, writer, ended };
    if (terminal !== null) tell(fresh.writer, `terminal ${terminal.path} ${terminal.modes}`);
    for (const pgid of groups) tell(fresh.writer, `group ${pgid}`);
    for (const { line } of waiting.values()) tell(fresh.writer, line);
    if (deadlineAt !== null) {
      tell(fresh.writer, `deadline ${Math.max(0.1, (deadlineAt - clock.mono()) / 1000).toFixed(1)}`);
    }
    return fresh;
  }

  /** Without descriptors or processes left to get, a start fails: it is tried again until one succeeds. */
  function respawn(tries: number): void {
    cancelRespawn = clock.setTimer(Math.min(RESPAWN_CAP_MS, RESPAWN_MS * 2 ** tries), () => {
      cancelRespawn = null;
      if (over) return;
      try {
        live = start();
      } catch (error) {
        log.warn("the guard cannot be started", { error: messageOf(error) });
        respawn(tries + 1);
      }
    });
  }

  async function read(stdout: ReadableStream<Uint8Array>): Promise<void> {
    for await (const line of lines(stdout, { maxLineBytes: 4_096 })) {
      if (line.kind !== "line") continue;
      const [verb, id, count] = line.text.split(" ");
      if (verb !== "swept" || id === undefined) continue;
      waiting.get(id)?.answer(Number(count));
      waiting.delete(id);
    }
  }

  function tell(writer: WritableStreamDefaultWriter<Uint8Array>, line: string): void {
    writer.write(new TextEncoder().encode(line + "\n")).catch((error) => {
      if (!over) log.debug("the guard does not listen", { error: messageOf(error) });
    });
  }

  function signal(name: "SIGCONT" | "SIGKILL"): void {
    try {
      live.child.kill(name);
    } catch { /* it has ended, another one comes */ }
  }

  let disposing: Promise<void> | null = null;
  return {
    get pid() {
      return live.child.pid;
    },
    add(pgid) {
      groups.add(pgid);
      tell(live.writer, `group ${pgid}`);
    },
    remove(pgid) {
      groups.delete(pgid);
      tell(live.writer, `gone ${pgid}`);
    },
    async sweep(marker) {
      const id = `t${++token}`;
      const line = marker === undefined ? `sweep ${id}` : `sweep ${id} ${marker}`;
      const answer = new Promise<number>((resolve) => waiting.set(id, { line, answer: resolve }));
      tell(live.writer, line);
      const cancels = [
        clock.setTimer(WAKE_MS, () => signal("SIGCONT")),
        clock.setTimer(REPLACE_MS, () => signal("SIGKILL")),
      ];
      const count = await withDeadline(clock, SWEEP_MS, answer);
      for (const cancel of cancels) cancel();
      waiting.delete(id);
      return count === TIMED_OUT ? -1 : count;
    },
    deadline(ms) {
      deadlineAt = ms === 0 ? null : clock.mono() + ms;
      tell(live.writer, `deadline ${ms === 0 ? 0 : (ms / 1000).toFixed(1)}`);
    },
    dispose() {
      disposing ??= (async () => {
        over = true;
        cancelRespawn?.();
        tell(live.writer, "bye");
        signal("SIGCONT");
        if (await withDeadline(clock, 2_000, live.ended) === TIMED_OUT) signal("SIGKILL");
        await live.ended;
      })();
      return disposing;
    },
  };
}
