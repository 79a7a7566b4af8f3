/** Severity, lowest first. Message bodies are never logged above `debug`. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Structured facts that go with a log line. Values are redacted and escaped by the sink. */
export type LogFields = Record<string, string | number | boolean | null | undefined>;

/** The one logger of the house. Modules receive it; nothing imports a global one. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Returns a logger whose lines carry `category` (for example `bus` or `codex`). */
  child(category: string): Log;
}

/** A logger that drops everything, for callers that were given none. */
export const noLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => noLog,
};
