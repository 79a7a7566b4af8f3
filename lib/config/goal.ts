import { parseDuration } from "../base/duration.ts";
import { RunnerError } from "../base/errors.ts";
import type { GoalSettings } from "./contract.ts";

type Flags = Readonly<Record<string, string | true>>;

/** Flags that only mean something when no person is at the terminal. */
const HEADLESS_ONLY = [
  "exit-on-idle",
  "connect-timeout",
  "max-turns",
  "max-time",
  "max-cost",
  "output",
  "result",
  "no-relay",
] as const;

/** Providers that say what a turn has cost. */
const REPORTS_COST = new Set(["claude", "echo"]);

/** A run that waits for a message needs its relay; without another word it gives it this long. */
const CONNECT_MS = 60_000;

/** What decides about a run's goal beside its flags. */
export interface GoalInput {
  provider: string;
  headless: boolean;
  hasPrompt: boolean;
  /** A relay is configured by flag, environment or file. */
  hasRelay: boolean;
}

/** Returns what the run is for and how much it may use; refuses what contradicts itself. */
export function goalSettings(flags: Flags, input: GoalInput): GoalSettings {
  const { provider, headless, hasPrompt, hasRelay } = input;
  const once = flags.once === true ? hasPrompt ? "prompt" as const : "message" as const : null;
  if (!headless) {
    const given = HEADLESS_ONLY.find((name) => flags[name] !== undefined);
    if (given !== undefined) {
      throw new RunnerError("E_FLAG", `--${given} is for runs without a terminal`, {
        hint: "add --headless",
      });
    }
  }
  if (flags["max-cost"] !== undefined && !REPORTS_COST.has(provider)) {
    throw new RunnerError(
      "E_FLAG",
      `--max-cost cannot be enforced: ${provider} does not report what a turn costs`,
      {
        hint: "use --max-turns or --max-time",
      },
    );
  }
  const connectTimeoutMs = duration(flags["connect-timeout"]);
  if (flags["no-relay"] === true) {
    for (const name of ["relay-url", "connect-timeout", "token-file", "token-stdin"]) {
      if (flags[name] !== undefined) {
        throw new RunnerError("E_FLAG", `--no-relay and --${name} exclude each other`);
      }
    }
    if (!hasPrompt) {
      throw new RunnerError("E_FLAG", "--no-relay needs a prompt: nothing else can reach the agent", {
        hint: "add --prompt or --prompt-file",
      });
    }
  }
  const ownPrompt = once === "prompt" && !hasRelay && connectTimeoutMs === null;
  return {
    once,
    // A job that brings its prompt along needs no relay, so it neither looks for one nor serves one.
    bus: flags["no-relay"] !== true && !ownPrompt,
    exitOnIdleMs: duration(flags["exit-on-idle"]),
    connectTimeoutMs: connectTimeoutMs ?? (once === "message" ? CONNECT_MS : null),
    maxTurns: number(flags["max-turns"]),
    maxTimeMs: duration(flags["max-time"]),
    maxCostUsd: number(flags["max-cost"]),
  };
}

function duration(value: string | true | undefined): number | null {
  return typeof value === "string" ? parseDuration(value) : null;
}

function number(value: string | true | undefined): number | null {
  return typeof value === "string" ? Number(value) : null;
}
