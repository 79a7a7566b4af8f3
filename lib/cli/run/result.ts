import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { quitByPerson } from "../../providers/quit.ts";
import type { RunReport } from "../../runner/core/goal.ts";
import type { ExitOutcome } from "../../runner/core/types.ts";
import { exitCodeOf, exitCodeOfSignal } from "../exit_codes.ts";
import { INTERNAL_HINT } from "../report_error.ts";
import type { RunStart } from "./follower.ts";

/** How a run ended, in one word. */
export type RunOutcome =
  /** The work is done, or an agent that ends on idle had nothing left to do and nothing failed. */
  | "succeeded"
  /** A turn or a message failed. */
  | "failed"
  /** A limit of the run was reached. */
  | "limit"
  /** It was told to stop before its work was done. */
  | "cancelled"
  /** An agent that serves was told to stop, and did in order. */
  | "drained"
  /** It could not run: configuration, relay, provider, state. */
  | "error";

/** The result of a run as `--result` and the last line of `--output jsonl` show it; docs/ci.md is its description. */
export interface RunResult {
  version: 1;
  outcome: RunOutcome;
  exitCode: number;
  /** Signal that asked for the end, null when there was none. */
  signal: string | null;
  error: { code: string; message: string; hint: string | null } | null;
  /** `exitCode` and `signal` of the provider's last process; null when none has ended. */
  provider: { name: string; exitCode: number | null; signal: string | null };
  agentId: string | null;
  runnerId: string | null;
  relayUrl: string | null;
  /** Conversation the run ended in, for `--conversation`; null when none was open. */
  conversation: string | null;
  turns: number;
  /** Null where the provider reports no cost. */
  costUsd: number | null;
  messages: RunReport["messages"];
  startedAt: string;
  durationMs: number;
  /** What the model said at the end of the last turn that ended well. */
  text: string | null;
  runnerVersion: string;
}

/** How a run ended, before it is written down. */
export interface Verdict {
  outcome: RunOutcome;
  exitCode: number;
  error: RunnerError | null;
}

/** What a verdict needs beside the run's own words. */
export interface VerdictOptions {
  /** An error nobody caught, undefined without. */
  crashed?: unknown;
  /** Masks secrets. A reason is cut after that: half a secret would show. */
  redact?(text: string): string;
}

/** Says what the end of a run means for its caller. */
export function verdictOf(
  outcome: ExitOutcome,
  report: RunReport,
  { crashed, redact = String }: VerdictOptions = {},
): Verdict {
  if (crashed !== undefined) return failure(crashed, "error");
  const { cause } = outcome;
  const unfinished = report.once !== null && report.work !== "done";
  switch (cause.kind) {
    case "completed":
      return { outcome: "succeeded", exitCode: 0, error: null };
    case "drained":
      if (!unfinished) {
        return { outcome: report.once === null ? "drained" : "succeeded", exitCode: 0, error: null };
      }
      if (report.work === "failed") {
        return failure(
          new RunnerError("E_TURN_FAILED", shown(redact(report.failure ?? "the turn failed"), 400)),
          "failed",
        );
      }
      return cancelled(report.signal ?? "SIGTERM");
    case "command":
      if (!unfinished) return { outcome: "drained", exitCode: 0, error: null };
      return failure(
        new RunnerError("E_TURN_FAILED", `${cause.action} came before the work was done`),
        "cancelled",
      );
    case "signal":
      return cancelled(cause.signal);
    case "error": {
      // The turn that was to be cut off had ended: the work is done, and within the limit as far as anyone can say.
      if (cause.code === "E_LIMIT" && report.work === "done") {
        return { outcome: "succeeded", exitCode: 0, error: null };
      }
      const outcome = cause.code === "E_LIMIT"
        ? "limit"
        : cause.code === "E_TURN_FAILED"
        ? "failed"
        : "error";
      return failure(new RunnerError(cause.code, shown(redact(cause.message), 400)), outcome);
    }
    case "provider": {
      const { code } = cause.status;
      if (code !== 0 && quitByPerson(cause.status)) return cancelled("SIGINT");
      return { outcome: code === 0 ? "succeeded" : "failed", exitCode: code, error: null };
    }
  }
}

function cancelled(signal: string): Verdict {
  return { outcome: "cancelled", exitCode: exitCodeOfSignal(signal), error: null };
}

function failure(error: unknown, outcome: RunOutcome): Verdict {
  const known = error instanceof RunnerError
    ? error
    : new RunnerError("E_INTERNAL", messageOf(error), { cause: error, hint: INTERNAL_HINT });
  return { outcome, exitCode: exitCodeOf(known.code), error: known };
}

/** What a result is made of. */
export interface ResultParts {
  verdict: Verdict;
  provider: string;
  start: RunStart | null;
  report: RunReport | null;
  startedAt: number;
  durationMs: number;
  redact(text: string): string;
}

/** Puts a result together; everything that came from outside is redacted. */
export function resultOf(
  { verdict, provider, start, report, startedAt, durationMs, redact }: ResultParts,
): RunResult {
  const { error } = verdict;
  const exit = report?.providerExit ?? null;
  return {
    version: 1,
    outcome: verdict.outcome,
    exitCode: verdict.exitCode,
    signal: report?.signal ?? null,
    error: error === null ? null : {
      code: error.code,
      message: redact(error.message),
      hint: error.hint === undefined ? null : redact(error.hint),
    },
    provider: {
      name: provider,
      exitCode: exit === null || exit.signal !== null ? null : exit.code,
      signal: exit?.signal ?? null,
    },
    agentId: start?.agentId ?? null,
    runnerId: start?.runnerId ?? null,
    relayUrl: start?.relayUrl ?? null,
    conversation: report?.conversation ?? null,
    turns: report?.turns ?? 0,
    costUsd: report?.costUsd ?? null,
    messages: report?.messages ?? { done: 0, failed: 0, dead: 0, open: 0 },
    startedAt: new Date(startedAt).toISOString(),
    durationMs: Math.round(durationMs),
    text: report === null || report.text === null ? null : redact(report.text),
    runnerVersion: VERSION,
  };
}
