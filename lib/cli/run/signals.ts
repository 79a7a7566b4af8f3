import { systemClock } from "../../base/clock.ts";
import { ask } from "../../process/ask.ts";

/** Signals of a run, trapped from the beginning and delivered once somebody listens. */
export interface SignalTrap {
  connect(listener: (signal: string) => void): void;
  /** What an uncaught error or rejection was, undefined when there was none. */
  readonly crashed: unknown;
  dispose(): void;
}

/**
 * Calls back with the signals that ask this process to end; returns how to stop that. SIGHUP is none where it was to be
 * ignored (`nohup`). To leave it alone then would not do: with the first listener of any signal Deno takes SIGHUP too, and
 * ends the process at it (2.9.6, measured).
 */
export function onEndSignal(tell: (signal: string) => void): () => void {
  const names: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  const spared = isHangUpIgnored();
  const handlers = names.map((name) => {
    const handler = name === "SIGHUP"
      ? () => void spared.then((ignored) => ignored ? undefined : tell(name))
      : () => tell(name);
    Deno.addSignalListener(name, handler);
    return { name, handler };
  });
  return () => {
    for (const { name, handler } of handlers) Deno.removeSignalListener(name, handler);
  };
}

/** Longest time until a hang-up is told, or not. */
const ASK_MS = 2_000;

/** Prints the signals that a process ignores from its start: it has them from ours. */
export const IGNORED =
  `while read -r name mask; do [ "$name" = SigIgn: ] && echo "$mask"; done < /proc/self/status`;

/**
 * Resolves with whether this process was started with SIGHUP ignored, which Linux tells. Asked of a child, made before the
 * first listener changes it for us: Deno lets nobody read `/proc` without all permissions. An agent in the person's
 * terminal is not under `nohup`, which takes standard input away.
 */
async function isHangUpIgnored(): Promise<boolean> {
  if (Deno.build.os !== "linux" || Deno.stdin.isTerminal()) return false;
  const answer = await ask("/bin/sh", ["-c", IGNORED], { clock: systemClock, timeoutMs: ASK_MS }).catch(() =>
    null
  );
  const mask = answer?.state === "ended" ? answer.out.trim() : "";
  // One bit for each signal, SIGHUP is the first.
  return (Number.parseInt(mask.slice(-1), 16) & 1) === 1;
}

/**
 * Traps the signals that end a run, and errors nobody caught: those would end the process on the spot and leave the
 * agent without its supervisor, so they become a stop in order instead.
 */
export function trapSignals(): SignalTrap {
  let listener: ((signal: string) => void) | null = null;
  let waiting: string[] = [];
  let crashed: unknown;
  const tell = (signal: string) => {
    if (listener === null) waiting.push(signal);
    else listener(signal);
  };
  const untrap = onEndSignal(tell);
  const crash = (event: Event, error: unknown) => {
    event.preventDefault();
    crashed ??= error;
    // Twice: a process that is not sane does not wait for a turn to end.
    tell("SIGTERM");
    tell("SIGTERM");
  };
  const onError = (event: ErrorEvent) => crash(event, event.error);
  const onRejection = (event: PromiseRejectionEvent) => crash(event, event.reason);
  globalThis.addEventListener("error", onError);
  globalThis.addEventListener("unhandledrejection", onRejection);
  return {
    connect(to) {
      listener = to;
      const late = waiting;
      waiting = [];
      for (const signal of late) to(signal);
    },
    get crashed() {
      return crashed;
    },
    dispose() {
      untrap();
      globalThis.removeEventListener("error", onError);
      globalThis.removeEventListener("unhandledrejection", onRejection);
    },
  };
}
