/** A parsed command line. Parsing returns this value; running it is a second step. */
export interface Invocation {
  /** Canonical verb: `run` for providers, else the verb itself. */
  verb: string;
  /** Flag values by canonical name without dashes (`approval-mode` arrives as `approval`); `true` for switches. */
  flags: Readonly<Record<string, string | true>>;
  /** What stands beside the flags, without the verb. For `run`, the first is the provider. */
  positionals: readonly string[];
  /** Everything after `--`. */
  providerArgs: readonly string[];
}

/** The person's side of the process, injected so that verbs can be tested in-process. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** True once the reader of `out` has gone (`| head`): who prints without end has to end then. */
  readonly outGone: boolean;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** False with NO_COLOR or without a terminal. */
  readonly color: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readStdin(): Promise<string>;
}

/** A verb: returns the exit code, throws RunnerError for expected failures. */
export type Verb = (invocation: Invocation, io: Io) => Promise<number>;
