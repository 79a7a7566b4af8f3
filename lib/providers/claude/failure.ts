import type { FailureClass } from "../contract.ts";

/** What is known of a failed turn. */
export interface ClaudeFailure {
  /** HTTP status of the model API, when it answered. */
  status?: number | undefined;
  /** `terminal_reason` of the result, for example `api_error`, `aborted_streaming`. */
  terminalReason?: string | undefined;
  text: string;
  /** `subtype` of the result; it names the limits that Claude Code itself keeps. */
  subtype?: string | undefined;
}

/** Says what a failed turn means for its messages (Claude Code 2.1.330). */
export function classify({ status, terminalReason, text, subtype }: ClaudeFailure): FailureClass {
  if (subtype === "error_max_turns" || subtype === "error_max_budget_usd") return "limit";
  if (terminalReason?.startsWith("aborted") === true) return "cancelled";
  if (status === 401 || status === 403) return "provider";
  if (
    /\/login|invalid api key|authentication|oauth|credit balance|usage limit|limit reached|billing/i.test(
      text,
    )
  ) {
    return "provider";
  }
  if (/prompt is too long|context (?:window|length)|too many tokens/i.test(text)) return "message";
  if (status === 400 || status === 413 || status === 422) return "message";
  return "transient";
}
