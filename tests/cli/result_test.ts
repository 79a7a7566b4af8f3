import { assertEquals } from "@std/assert";
import { type RunOutcome, verdictOf } from "../../lib/cli/run/result.ts";
import type { RunReport } from "../../lib/runner/core/goal.ts";
import type { ExitOutcome } from "../../lib/runner/core/types.ts";

const SERVES: RunReport = {
  once: null,
  work: "waiting",
  turns: 0,
  costUsd: null,
  signal: null,
  messages: { done: 0, failed: 0, dead: 0, open: 0 },
  text: null,
  failure: null,
  conversation: null,
  providerExit: null,
};
const JOB: RunReport = { ...SERVES, once: "prompt", work: "begun" };
const DONE: RunReport = { ...JOB, work: "done" };

type Cause = ExitOutcome["cause"];

const drained: Cause = { kind: "drained" };
const command: Cause = { kind: "command", commandId: "c", action: "agent.shutdown" };
const limit: Cause = { kind: "error", code: "E_LIMIT", message: "limit" };

const TABLE: [string, Cause, RunReport, number, RunOutcome][] = [
  ["a job that is done", { kind: "completed" }, DONE, 0, "succeeded"],
  ["an agent that was stopped", drained, { ...SERVES, signal: "SIGTERM" }, 0, "drained"],
  ["an agent that was stopped over the bus", command, SERVES, 0, "drained"],
  ["a job that was done within its drain", drained, { ...DONE, signal: "SIGINT" }, 0, "succeeded"],
  ["a job that failed within its drain", drained, { ...JOB, work: "failed", signal: "SIGINT" }, 1, "failed"],
  ["a job that was cancelled with Ctrl-C", drained, { ...JOB, signal: "SIGINT" }, 130, "cancelled"],
  ["a job that was terminated", drained, { ...JOB, signal: "SIGTERM" }, 143, "cancelled"],
  ["a job that was hung up", drained, { ...JOB, signal: "SIGHUP" }, 129, "cancelled"],
  [
    "a job that found no work before it was cancelled",
    drained,
    {
      ...JOB,
      once: "message",
      work: "waiting",
      signal: "SIGTERM",
    },
    143,
    "cancelled",
  ],
  ["a job that was stopped over the bus", command, JOB, 1, "cancelled"],
  ["a second signal", { kind: "signal", signal: "SIGTERM" }, { ...JOB, signal: "SIGINT" }, 143, "cancelled"],
  ["a failed turn", { kind: "error", code: "E_TURN_FAILED", message: "x" }, JOB, 1, "failed"],
  ["a limit", limit, JOB, 8, "limit"],
  ["a limit that came as the work was done", limit, DONE, 0, "succeeded"],
  ["a refused token", { kind: "error", code: "E_RELAY_AUTH", message: "x" }, JOB, 4, "error"],
  ["a crash loop", { kind: "error", code: "E_CRASH_LOOP", message: "x" }, SERVES, 5, "error"],
  ["a disk that refuses", { kind: "error", code: "E_STATE_WRITE", message: "x" }, JOB, 7, "error"],
  ["a relay that is away", { kind: "error", code: "E_RELAY_UNREACHABLE", message: "x" }, JOB, 75, "error"],
  ["a bug", { kind: "error", code: "E_INTERNAL", message: "x" }, DONE, 70, "error"],
  [
    "a person's agent that ended with 3",
    { kind: "provider", status: { code: 3, signal: null } },
    SERVES,
    3,
    "failed",
  ],
  [
    "a person's agent that was quit",
    { kind: "provider", status: { code: 0, signal: null } },
    SERVES,
    0,
    "succeeded",
  ],
  [
    "a person's agent that was ended by Ctrl-C",
    { kind: "provider", status: { code: 130, signal: "SIGINT" } },
    SERVES,
    130,
    "cancelled",
  ],
];

for (const [name, cause, report, exitCode, outcome] of TABLE) {
  Deno.test(`${name} ends with ${exitCode}, ${outcome}`, () => {
    const verdict = verdictOf({ cause, deregister: false }, report);
    assertEquals([verdict.exitCode, verdict.outcome], [exitCode, outcome]);
    const silent = exitCode === 0 || exitCode > 128 || cause.kind === "provider";
    assertEquals(verdict.error === null, silent, "what has no signal and no code of the agent says why");
  });
}

Deno.test("an error nobody caught ends every run with 70, also one that was done", () => {
  const verdict = verdictOf({ cause: { kind: "completed" }, deregister: false }, DONE, {
    crashed: new TypeError("oops"),
  });
  assertEquals([verdict.exitCode, verdict.outcome, verdict.error?.code], [70, "error", "E_INTERNAL"]);
  assertEquals(verdict.error?.message, "oops");
});

Deno.test("a reason is cut only once the secrets in it are masked", () => {
  const redact = (text: string) => text.replaceAll("topsecret", "[redacted]");
  const said = "x".repeat(395) + "topsecret";
  const causes: [Cause, RunReport][] = [
    [{ kind: "error", code: "E_CRASH_LOOP", message: said }, JOB],
    [drained, { ...JOB, work: "failed", failure: said }],
  ];
  for (const [cause, report] of causes) {
    const { error } = verdictOf({ cause, deregister: false }, report, { redact });
    assertEquals(error?.message, "x".repeat(395) + "[reda…");
  }
});
