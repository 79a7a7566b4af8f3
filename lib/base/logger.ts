import type { Clock } from "./clock.ts";
import { shown } from "./errors.ts";
import type { Log, LogFields, LogLevel } from "./log.ts";
import type { Redactor } from "./redact.ts";

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const MESSAGE_LIMIT = 2_000;

/** One finished log line, redacted and escaped. */
export interface LogLine {
  at: number;
  level: LogLevel;
  category: string;
  message: string;
  fields: LogFields;
}

/** Where lines go. A sink must not throw; a throw is swallowed, since logging never ends the process. */
export type LogSink = (line: LogLine) => void;

/**
 * Creates the one logger of a process. Own code instead of a library: the measured cost of LogTape is 14 ms of
 * start-up, and what is needed here is redaction before every sink.
 */
export function createLogger(options: {
  level: LogLevel;
  clock: Pick<Clock, "wall">;
  redactor: Redactor;
  sinks: LogSink[];
}): Log {
  const { clock, redactor, sinks } = options;
  const least = RANK[options.level];
  const clean = (text: string) => shown(redactor.redact(text), MESSAGE_LIMIT);
  const make = (category: string): Log => {
    const log = (level: LogLevel, message: string, fields: LogFields = {}) => {
      if (RANK[level] < least) return;
      const safe: LogFields = {};
      for (const [name, value] of Object.entries(fields)) {
        if (value !== undefined) safe[name] = typeof value === "string" ? clean(value) : value;
      }
      const line = { at: clock.wall(), level, category, message: clean(message), fields: safe };
      for (const sink of sinks) {
        try {
          sink(line);
        } catch { /* nothing is left to tell it to */ }
      }
    };
    return {
      debug: (message, fields) => log("debug", message, fields),
      info: (message, fields) => log("info", message, fields),
      warn: (message, fields) => log("warn", message, fields),
      error: (message, fields) => log("error", message, fields),
      child: (name) => make(category === "" ? name : `${category}.${name}`),
    };
  };
  return make("");
}

/** Returns a line for people: `12:34:56 warn bus: message key=value`. */
export function humanLine(line: LogLine): string {
  const time = new Date(line.at).toISOString().slice(11, 19);
  const fields = Object.entries(line.fields).map(([name, value]) => ` ${name}=${String(value)}`).join("");
  return `${time} ${line.level} ${
    line.category === "" ? "" : `${line.category}: `
  }${line.message}${fields}\n`;
}

/** Returns a line for programs: one JSON object. */
export function jsonLine(line: LogLine): string {
  const { at, level, category, message, fields } = line;
  return JSON.stringify({ at: new Date(at).toISOString(), level, category, message, ...fields }) + "\n";
}
