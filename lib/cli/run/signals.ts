/** Signals of a run, trapped from the beginning and delivered once somebody listens. */
export interface SignalTrap {
  connect(listener: (signal: string) => void): void;
  /** What an uncaught error or rejection was, undefined when there was none. */
  readonly crashed: unknown;
  dispose(): void;
}

const WINDOWS: Deno.Signal[] = ["SIGINT", "SIGBREAK"];
const UNIX: Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Traps the signals that end a run, and errors nobody caught: those would end the process on the spot and leave the
 * agent without its supervisor, so they become a stop in order instead.
 */
export function trapSignals(): SignalTrap {
  const names = Deno.build.os === "windows" ? WINDOWS : UNIX;
  let listener: ((signal: string) => void) | null = null;
  let waiting: string[] = [];
  let crashed: unknown;
  const tell = (signal: string) => {
    if (listener === null) waiting.push(signal);
    else listener(signal);
  };
  const handlers = names.map((name) => {
    const handler = () => tell(name);
    Deno.addSignalListener(name, handler);
    return { name, handler };
  });
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
      for (const { name, handler } of handlers) Deno.removeSignalListener(name, handler);
      globalThis.removeEventListener("error", onError);
      globalThis.removeEventListener("unhandledrejection", onRejection);
    },
  };
}
