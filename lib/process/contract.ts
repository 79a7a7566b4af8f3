/** How a process ended. `signal` is set when a signal ended it. */
export interface ExitStatus {
  code: number;
  signal: string | null;
}

/** What to start. No shell is ever involved. */
export interface SpawnOptions {
  /** Absolute path, or a bare name that is looked up on PATH. */
  command: string;
  args: string[];
  cwd: string;
  /** The complete environment of the child; nothing is inherited. The run-id marker is added to it. */
  env: Record<string, string>;
  stdin: "piped" | "null" | "inherit";
  stdout: "piped" | "null" | "inherit";
  stderr: "piped" | "null" | "inherit";
  /**
   * True (headless): own session and process group, so that the whole tree can be signalled. False
   * (interactive): the child stays in the terminal's foreground group.
   */
  ownGroup: boolean;
}

/** How to stop a child's tree. */
export interface StopOptions {
  /** Time between SIGTERM to the group and SIGKILL. 0 kills at once. */
  graceMs: number;
}

/** A started child. Its tree is registered with the guard before `spawn` resolves. */
export interface ChildHandle {
  readonly pid: number;
  /** Present when asked for with `piped`. */
  readonly stdin?: WritableStream<Uint8Array>;
  readonly stdout?: ReadableStream<Uint8Array>;
  readonly stderr?: ReadableStream<Uint8Array>;
  /** Resolves when the direct child has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** Sends a signal to the direct child; false when it is gone already. */
  signal(signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" | "SIGCONT"): boolean;
  /**
   * Ends the whole tree: TERM (+CONT) to the group, grace, KILL, then a sweep until two scans in a row find nothing:
   * by the child's own marker while other children live, by the run's after the last one. Idempotent; all callers
   * get the same promise. A later call whose grace is over earlier shortens it.
   */
  stop(options: StopOptions): Promise<ExitStatus>;
}

/** Starts and ends processes; one per runner. */
export interface Processes {
  /** Value of AGENT_RELAY_RUN_ID in every process started here. */
  readonly runId: string;
  /** Throws RunnerError `E_PROVIDER_CMD` when the command is missing, not executable or of another machine. */
  spawn(options: SpawnOptions): Promise<ChildHandle>;
  /** Stops every child and the guard. Idempotent. */
  dispose(options: StopOptions): Promise<void>;
}
