/**
 * The closed list of error codes. A code is stable: scripts match on it, and `docs/exit-codes.md` says what each means.
 * `lib/cli/exit_codes.ts` maps every code to an exit code, `lib/protocol/http_status.ts` maps the ones that reach HTTP to
 * a status; no other place may translate.
 */
export const ERROR_CODES = [
  // usage
  "E_USAGE",
  "E_PROVIDER",
  "E_FLAG",
  "E_FLAG_VALUE",
  "E_ARGV",
  "E_LABEL",
  "E_AGENT_ID",
  "E_APPROVAL",
  "E_DURATION",
  "E_PROMPT",
  "E_TOKEN_ARGV",
  "E_RELAY_URL",
  "E_RELAY_PLAINTEXT",
  "E_CWD",
  "E_TARGET",
  // configuration and files
  "E_HOME",
  "E_CONFIG",
  "E_CONFIG_PERM",
  "E_TOKEN_FILE",
  "E_NAME",
  // relay
  "E_RELAY_AUTH",
  "E_RELAY_UNREACHABLE",
  "E_RELAY_REPLY",
  "E_RELAY_PORT",
  "E_RELAY_REFUSED",
  "E_NO_RECIPIENT",
  "E_NOT_FOUND",
  "E_CONFLICT",
  "E_UNPROCESSABLE",
  "E_NOT_DELIVERED",
  "E_NO_REPLY",
  // provider
  "E_PROVIDER_CMD",
  "E_CRASH_LOOP",
  "E_TURN_FAILED",
  "E_RPC",
  // state
  "E_LOCKED",
  "E_STATE",
  "E_STATE_WRITE",
  // control server and wire
  "E_UNAUTHORIZED",
  "E_FORBIDDEN",
  "E_BAD_REQUEST",
  "E_TOO_LARGE",
  "E_MEDIA_TYPE",
  "E_TIMEOUT",
  "E_RATE",
  "E_METHOD",
  "E_LIMIT",
  "E_INTERNAL",
] as const;

/** One stable error code. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What a {@linkcode RunnerError} carries beside its code and message. */
export interface RunnerErrorOptions extends ErrorOptions {
  /** One sentence that tells the person what to do now. */
  hint?: string;
  /** What a program needs to go on, like the id of a message; part of the JSON form only. */
  details?: Readonly<Record<string, string | number>>;
  /** The place: a file with line and column, a flag, an environment variable, a URL without secrets. */
  where?: string;
}

/**
 * An error somebody is expected to act on: a stable code, what is wrong and where, and a hint.
 *
 * `message` is one line without a full stop. Values inside it must have passed {@linkcode shown}.
 */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: ErrorCode;
  readonly hint?: string;
  readonly where?: string;
  readonly details?: Readonly<Record<string, string | number>>;

  constructor(code: ErrorCode, message: string, options: RunnerErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.hint !== undefined) this.hint = options.hint;
    if (options.where !== undefined) this.where = options.where;
    if (options.details !== undefined) this.details = options.details;
  }
}

/**
 * Makes foreign text safe to show on one terminal line: control, bidi and other invisible characters become
 * `\xNN` or `\u{N}`, and the text is cut at `max` characters (default 80).
 */
export function shown(text: string, max = 80): string {
  const cut = text.length > max ? text.slice(0, max) + "…" : text;
  return cut.replace(
    // deno-lint-ignore no-control-regex -- control characters are what this looks for
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]|\p{Cf}/gu,
    (c) => {
      const code = c.codePointAt(0)!;
      if (c === "\n") return "\\n";
      if (c === "\r") return "\\r";
      if (c === "\t") return "\\t";
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
    },
  );
}

/** Returns the message of anything thrown, for logs and `cause` texts. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Says why a `fetch` rejected: the reason is in the cause, the message around it names the URL, which the caller knows. */
export function fetchProblem(error: unknown): string {
  return messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
}
