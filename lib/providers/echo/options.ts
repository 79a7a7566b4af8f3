import { parseArgs } from "@std/cli";
import { parseDuration } from "../../base/duration.ts";
import type { FailureClass } from "../contract.ts";

/** How the echo agent behaves; what stands after `--`. It stands in for an agent that is slow, failing or dying. */
export interface EchoOptions {
  /** Time between `seen` and the end of a turn. */
  slowMs: number;
  /** Every turn fails in this way; `seen`: after the answer had begun. */
  fail: Extract<FailureClass, "transient" | "message" | "provider"> | "seen" | null;
  /** Ends the process with this code in the middle of a turn. */
  exit: number | null;
  /** Answers of the model per message. */
  turns: number;
  /** Cost of a message in USD, null to report none. */
  costUsd: number | null;
}

const NAMES = ["slow", "fail", "exit", "turns", "cost"];
const FAILURES = ["transient", "message", "provider", "seen"];

/** Reads the options; null when they are not understood, which is a usage error of the agent. */
export function parseEchoOptions(args: readonly string[]): EchoOptions | null {
  const parsed = parseArgs([...args], { string: NAMES });
  const given = Object.keys(parsed).filter((name) => name !== "_");
  if (parsed._.length > 0 || given.some((name) => !NAMES.includes(name))) return null;
  const { slow, fail, exit, turns, cost } = parsed as Record<string, string | undefined>;
  const slowMs = slow === undefined ? 0 : parseDuration(slow);
  if (slowMs === null || (fail !== undefined && !FAILURES.includes(fail))) return null;
  const numbers = [exit, turns, cost].map((text) => text === undefined ? null : Number(text));
  if (numbers.some((value) => value !== null && !(value >= 0))) return null;
  const [exitCode = null, turnCount = null, costUsd = null] = numbers;
  return {
    slowMs,
    fail: (fail ?? null) as EchoOptions["fail"],
    exit: exitCode,
    turns: turnCount ?? 1,
    costUsd,
  };
}
