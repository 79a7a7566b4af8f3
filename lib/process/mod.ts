import type { Clock } from "../base/clock.ts";
import { delay, TIMED_OUT, withDeadline } from "../base/clock.ts";
import { messageOf, RunnerError, shown } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ChildHandle, ExitStatus, Processes, SpawnOptions, StopOptions } from "./contract.ts";
import { type Guard, type GuardedTerminal, startGuard } from "./guard.ts";
import { closable, type Output } from "./output.ts";

export type { ChildHandle, ExitStatus, Processes, SpawnOptions, StopOptions } from "./contract.ts";

/** Name of the variable that marks every process of a run. */
export const RUN_MARKER = "AGENT_RELAY_RUN_ID";
/** Name of the variable that marks one child and everything it starts. */
const CHILD_MARKER = "AGENT_RELAY_CHILD_ID";

/** How long after its end a child's output is read on, when something holds it open. */
const OUTPUT_MS = 1_500;
/** Between TERM and KILL for what a child left in its group when it ended by itself. */
const LEFT_GRACE_MS = 300;

/** {@linkcode Processes} with the watchdog of the guard. */
export interface GuardedProcesses extends Processes {
  /** Arms the guard's watchdog: this very process is killed when it still lives after `ms`; 0 disarms. */
  watchdog(ms: number): void;
  /** Stops (SIGSTOP) every child that has a group of its own; Ctrl-Z reaches the others by itself. */
  suspend(): void;
  /** Lets every child go on, also one that took Ctrl-Z and was not stopped: it waits to be continued all the same. */
  resume(): void;
  /** False once the last sweep, that of `dispose`, got no answer: something may be left of the run. */
  readonly allEnded: boolean;
  /** Process id of the guard, for tests and `status`. */
  readonly guardPid: number;
}

/**
 * Returns the starter of processes of one run. The guard is running when this returns, before any child exists.
 */
export function createProcesses(
  options: { runId: string; clock: Clock; log: Log; terminal?: GuardedTerminal | null },
): GuardedProcesses {
  const guard = startGuard(options);
  const children = new Set<Child>();
  const stopping = new Set<Promise<unknown>>();
  let disposing: Promise<void> | null = null;
  let allEnded = true;
  /** Markers of children that ended since the last sweep; what they left behind carries them. */
  const ended = new Set<string>();
  /** Goes by the marker of the run when no child is supposed to live, else by those of the children that are gone. */
  const sweepOnce = async () => {
    const gone = [...ended];
    ended.clear();
    if (gone.length === 0) return;
    if (children.size === 0) await guard.sweep();
    else for (const childId of gone) await guard.sweep(`${CHILD_MARKER}=${childId}`);
  };
  let sweeping: Promise<void> = Promise.resolve();
  /** One after another, so that nobody is told of a clean house while a sweep is still under way. */
  const sweepEnded = () => sweeping = sweeping.then(sweepOnce);
  return {
    runId: options.runId,
    get guardPid() {
      return guard.pid;
    },
    get allEnded() {
      return allEnded;
    },
    watchdog: (ms) => guard.deadline(ms),
    suspend: () => children.forEach((child) => child.signalGroup("SIGSTOP")),
    resume: () => children.forEach((child) => child.signalGroup("SIGCONT") || child.signal("SIGCONT")),
    async spawn(spawnOptions) {
      await checkCwd(spawnOptions.cwd);
      // A sweep for the one before must be over: it would take the new process for a left-over.
      while (stopping.size > 0) await Promise.all(stopping);
      await sweepEnded();
      if (disposing) throw new Error("Cannot start a process: the run is ending");
      const childId = crypto.randomUUID();
      const markers = { [RUN_MARKER]: options.runId, [CHILD_MARKER]: childId };
      const child = new Child(launch(spawnOptions, markers), {
        ownGroup: spawnOptions.ownGroup,
        guard,
        clock: options.clock,
        sweep: sweepEnded,
        began: (stop) => {
          stopping.add(stop);
          void stop.finally(() => stopping.delete(stop));
        },
      });
      children.add(child);
      void child.exited.then(() => {
        children.delete(child);
        ended.add(childId);
      });
      return child;
    },
    dispose(stop) {
      disposing ??= (async () => {
        await Promise.all([...children].map((child) => child.stop(stop)));
        await Promise.all(stopping);
        allEnded = await guard.sweep() >= 0;
        await guard.dispose();
      })();
      return disposing;
    },
  };
}

async function checkCwd(cwd: string): Promise<void> {
  const info = await Deno.stat(cwd).catch(() => null);
  if (!info?.isDirectory) {
    throw new RunnerError("E_CWD", `Cannot start a process in "${shown(cwd)}": it is not a directory`);
  }
}

function launch(options: SpawnOptions, markers: Record<string, string>): Deno.ChildProcess {
  try {
    return new Deno.Command(options.command, {
      args: options.args,
      cwd: options.cwd,
      clearEnv: true,
      env: { ...options.env, ...markers },
      stdin: options.stdin,
      stdout: options.stdout,
      stderr: options.stderr,
      detached: options.ownGroup,
    }).spawn();
  } catch (error) {
    const name = shown(options.command);
    if (error instanceof Deno.errors.NotFound) {
      throw new RunnerError("E_PROVIDER_CMD", `Cannot start "${name}": command not found`, {
        cause: error,
        hint: "install it or set command in the provider's file",
      });
    }
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      throw new RunnerError("E_PROVIDER_CMD", `Cannot start "${name}": permission denied`, {
        cause: error,
        hint: "make the file executable",
      });
    }
    if (/exec format/i.test(messageOf(error))) {
      throw new RunnerError("E_PROVIDER_CMD", `Cannot start "${name}": exec format error`, {
        cause: error,
        hint: "the file is for another machine, or not a program",
      });
    }
    throw error;
  }
}

/** What a child needs of the run it belongs to. */
interface ChildContext {
  ownGroup: boolean;
  guard: Guard;
  clock: Clock;
  sweep(): Promise<void>;
  began(stop: Promise<unknown>): void;
}

class Child implements ChildHandle {
  readonly #child: Deno.ChildProcess;
  readonly #context: ChildContext;
  readonly exited: Promise<ExitStatus>;
  readonly stdin?: WritableStream<Uint8Array>;
  readonly stdout?: ReadableStream<Uint8Array>;
  readonly stderr?: ReadableStream<Uint8Array>;
  #stopping: Promise<ExitStatus> | null = null;
  /** When it is killed (monotonic), and how to wait for a new time. */
  #killAt = Infinity;
  #rearm = () => {};
  /** Nothing of the tree is given time any more. */
  #hard = false;
  #groupGone = false;
  readonly #outputs: Output[] = [];

  constructor(child: Deno.ChildProcess, context: ChildContext) {
    this.#child = child;
    this.#context = context;
    this.exited = child.status.then(({ code, signal }) => ({ code, signal }));
    if (context.ownGroup) context.guard.add(child.pid);
    void this.exited.then(() => {
      this.#context.began(this.#endRest());
      this.#context.began(this.#endOutput());
    });
    // The getters throw for streams that were not asked for.
    for (const name of ["stdin", "stdout", "stderr"] as const) {
      try {
        if (name === "stdin") Object.defineProperty(this, name, { value: child.stdin });
        else this.#keep(name, closable(child[name]));
      } catch { /* not piped */ }
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  #keep(name: "stdout" | "stderr", output: Output): void {
    this.#outputs.push(output);
    Object.defineProperty(this, name, { value: output.stream });
  }

  signal(signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" | "SIGCONT"): boolean {
    try {
      this.#child.kill(signal);
      return true;
    } catch {
      // Deno throws TypeError for a child that has ended.
      return false;
    }
  }

  stop(options: StopOptions): Promise<ExitStatus> {
    const killAt = this.#context.clock.mono() + options.graceMs;
    if (options.graceMs === 0) this.#hard = true;
    if (killAt < this.#killAt) {
      this.#killAt = killAt;
      this.#rearm();
    }
    if (this.#stopping === null) {
      this.#stopping = this.#stop();
      this.#context.began(this.#stopping);
    }
    return this.#stopping;
  }

  /**
   * Ends what is left when the child has ended by itself: its group now, before the id can be somebody else's, and by
   * the marker whatever has left the group. Whoever reads the child's output waits for those that hold it open.
   */
  async #endRest(): Promise<void> {
    if (this.#context.ownGroup) {
      // Where nothing is left the id is free, and not ours to signal again.
      if (this.signalGroup("SIGTERM")) {
        this.signalGroup("SIGCONT");
        await delay(this.#context.clock, this.#hard ? 0 : LEFT_GRACE_MS);
        this.signalGroup("SIGKILL");
      }
      this.#groupGone = true;
      this.#context.guard.remove(this.pid);
    }
    await this.#context.sweep();
  }

  /** The last words of a child come with its end; what comes much later is not its own. */
  async #endOutput(): Promise<void> {
    const ended = Promise.all(this.#outputs.map((output) => output.ended));
    await withDeadline(this.#context.clock, OUTPUT_MS, ended);
    for (const output of this.#outputs) output.close();
  }

  async #stop(): Promise<ExitStatus> {
    if (!this.#hard) {
      this.#signalTree("SIGTERM");
      // A stopped process (SIGSTOP) acts on TERM only once it runs again.
      this.#signalTree("SIGCONT");
      await this.#grace();
      this.#hard = true;
    }
    this.#signalTree("SIGKILL");
    const status = await withDeadline(this.#context.clock, 5_000, this.exited);
    await this.#context.sweep();
    // After the sweep nothing of the tree is left that could keep the direct child alive.
    return status === TIMED_OUT ? { code: 137, signal: "SIGKILL" } : status;
  }

  /** Resolves when the child has ended or its time is over, which a later `stop` may have brought forward. */
  async #grace(): Promise<void> {
    const { clock } = this.#context;
    const over = Promise.withResolvers<void>();
    let cancel = () => {};
    this.#rearm = () => {
      cancel();
      cancel = clock.setTimer(this.#killAt - clock.mono(), over.resolve);
    };
    this.#rearm();
    await Promise.race([this.exited, over.promise]);
    this.#rearm = () => {};
    cancel();
  }

  #signalTree(signal: "SIGTERM" | "SIGCONT" | "SIGKILL"): void {
    if (!this.#groupGone && !this.signalGroup(signal)) this.signal(signal);
  }

  /** False when there is no group of its own, or none of it is left. */
  signalGroup(signal: "SIGTERM" | "SIGCONT" | "SIGKILL" | "SIGSTOP"): boolean {
    if (this.#groupGone || !this.#context.ownGroup) return false;
    try {
      Deno.kill(-this.pid, signal);
      return true;
    } catch {
      return false;
    }
  }
}
