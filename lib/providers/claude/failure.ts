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
  if (status === 401 || status === 402 || status === 403) return "provider";
  if (
    /\/login|invalid api key|authentication|oauth|credit balance|usage limit|limit reached|billing/i.test(
      text,
    )
  ) {
    return "provider";
  }
  // Quotas of the subscription and of the day; a model that the account has not; a conversation that no request can be
  // made of any more. Every other message would fail in the same way.
  if (
    /\bhit your .{0,60}\blimit\b|request rejected \(429\)|issue with the selected model|organization has been disabled|tool_use.{0,80}tool_result/is
      .test(text)
  ) {
    return "provider";
  }
  if (/prompt is too long|context (?:window|length)|too many tokens/i.test(text)) return "message";
  if (status === 400 || status === 413 || status === 422) return "message";
  return "transient";
}
