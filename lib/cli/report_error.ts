import { messageOf, RunnerError } from "../base/errors.ts";
import { exitCodeOf } from "./exit_codes.ts";

/** What to do about an error that is a bug. */
export const INTERNAL_HINT = "set AGENT_RELAY_DEBUG=1 to see where, and report it";

/** One failure in the form people and scripts get. */
export interface ErrorReport {
  text: string;
  json: string;
  exit: number;
}

/**
 * Returns an error in its one form: `runner: error[CODE]: what is wrong (where). hint`, the JSON of `--json`, and
 * the exit code. What is not a RunnerError is a bug: `E_INTERNAL`, with the way to see its stack.
 */
export function describeError(error: unknown): ErrorReport {
  const known = error instanceof RunnerError ? error : new RunnerError("E_INTERNAL", messageOf(error), {
    hint: INTERNAL_HINT,
    cause: error,
  });
  const { code, message, hint, where, details } = known;
  const exit = exitCodeOf(code);
  const place = where === undefined ? "" : ` (${where})`;
  return {
    text: `runner: error[${code}]: ${message}${place}${hint === undefined ? "" : `. ${hint}`}\n`,
    json:
      JSON.stringify({ error: { code, message: message + place, hint: hint ?? null, exit, ...details } }) +
      "\n",
    exit,
  };
}
