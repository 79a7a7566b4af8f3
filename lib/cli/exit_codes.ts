import type { ErrorCode } from "../base/errors.ts";

/**
 * Exit codes, an interface for scripts: 0 ok or drained, 1 the work failed, 2 usage, 3 configuration, 4 relay
 * refuses the credentials, 5 provider missing or in a crash loop, 6 lock held, 7 state, 8 limit or deadline,
 * 70 internal, 75 relay unreachable, 128+n ended by a signal. This table is the only place that translates.
 */
const EXIT: Readonly<Record<ErrorCode, number>> = {
  E_USAGE: 2,
  E_PROVIDER: 2,
  E_FLAG: 2,
  E_FLAG_VALUE: 2,
  E_ARGV: 2,
  E_LABEL: 2,
  E_AGENT_ID: 2,
  E_APPROVAL: 2,
  E_DURATION: 2,
  E_PROMPT: 2,
  E_TOKEN_ARGV: 2,
  E_RELAY_URL: 2,
  E_RELAY_PLAINTEXT: 2,
  E_CWD: 2,
  E_TARGET: 2,
  E_HOME: 3,
  E_CONFIG: 3,
  E_CONFIG_PERM: 3,
  E_TOKEN_FILE: 3,
  E_NAME: 3,
  E_RELAY_AUTH: 4,
  E_UNAUTHORIZED: 4,
  E_FORBIDDEN: 4,
  E_RELAY_UNREACHABLE: 75,
  E_RELAY_REPLY: 75,
  E_RELAY_PORT: 75,
  E_RELAY_REFUSED: 1,
  E_NO_RECIPIENT: 1,
  E_NOT_FOUND: 1,
  E_CONFLICT: 1,
  E_UNPROCESSABLE: 1,
  E_NOT_DELIVERED: 1,
  E_NO_REPLY: 1,
  E_TURN_FAILED: 1,
  E_PROVIDER_CMD: 5,
  E_CRASH_LOOP: 5,
  E_LOCKED: 6,
  E_STATE: 7,
  E_STATE_WRITE: 7,
  E_LIMIT: 8,
  E_TIMEOUT: 8,
  E_RPC: 70,
  E_BAD_REQUEST: 70,
  E_TOO_LARGE: 70,
  E_MEDIA_TYPE: 70,
  E_RATE: 70,
  E_METHOD: 70,
  E_INTERNAL: 70,
};

/** Number of each signal that can end a run, for 128+n. */
const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15, SIGBREAK: 21 };

/** Returns the exit code of an error code. */
export function exitCodeOf(code: ErrorCode): number {
  return EXIT[code];
}

/** Returns 128+n for a signal. */
export function exitCodeOfSignal(signal: string): number {
  return 128 + (SIGNALS[signal] ?? 15);
}
