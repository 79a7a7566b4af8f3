import { flagDuration } from "../../base/duration.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { JournalRow, MessageState } from "../../inbox/contract.ts";
import { LOCAL_STORE } from "../../inbox/core/row.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { ExitOutcome, Now, State } from "./types.ts";

/** What a run is for and how much it may use. A limit of null does not bind. */
export interface Goal {
  /** Ends with one piece of work: the run's own prompt, or the first message it gets; null serves until stopped. */
  once: "prompt" | "message" | null;
  /** False for a run on no bus at all. */
  bus: boolean;
  /** Ends once there was nothing to do for this long. */
  exitOnIdleMs: number | null;
  /** The relay must be reached within this time; no work begins before that. */
  connectTimeoutMs: number | null;
  /** Answers of the model, those that only call tools included. */
  maxTurns: number | null;
  maxTimeMs: number | null;
  /** Counted where the provider reports it. */
  maxCostUsd: number | null;
}

/** The goal of an agent that serves until it is told to stop. */
export const SERVE: Goal = {
  once: null,
  bus: true,
  exitOnIdleMs: null,
  connectTimeoutMs: null,
  maxTurns: null,
  maxTimeMs: null,
  maxCostUsd: null,
};

/** The one piece of work of a `once` run. */
export type Work =
  | { state: "waiting" }
  | { state: "begun"; key: string }
  /** Ended well at `at` (monotonic); the relay may not know yet. */
  | { state: "done"; key: string; at: number }
  | { state: "failed"; reason: string };

/** How far a run has got and what it has used. */
export interface Progress {
  /** Monotonic time of the start; null before it. */
  startedAt: number | null;
  work: Work;
  turns: number;
  /** Null until the provider reports a cost. */
  costUsd: number | null;
  /** The limit that the provider itself has kept, in its words. */
  limit: string | null;
  /** Since when there is nothing to do; kept only for a run that ends on idle. */
  idleSince: number | null;
  /** Whether the relay was ever reached; `missed` once a first try failed. */
  relay: "unknown" | "missed" | "reached";
  /** The first signal that asked for the end. */
  signal: string | null;
  done: number;
  failed: number;
  dead: number;
  /** What the model said at the end of the last turn that ended well. */
  text: string | null;
  /** Why the last turn that failed did so. */
  failure: string | null;
  providerExit: ExitStatus | null;
}

/** What a finished run tells: the part of its result that only the core knows. */
export interface RunReport {
  once: Goal["once"];
  work: Work["state"];
  turns: number;
  costUsd: number | null;
  signal: string | null;
  messages: { done: number; failed: number; dead: number; open: number };
  text: string | null;
  failure: string | null;
  /** Conversation that the run ended in; null when none was open. */
  conversation: string | null;
  providerExit: ExitStatus | null;
}

/** How long finished work may wait until the relay knows of it. */
const SETTLE_MS = 30_000;

/** Returns the progress of a run that has not begun. `handed`: keys an earlier run left with the provider. */
export function initialProgress(goal: Goal, handed: Iterable<string>): Progress {
  // What this agent had in hand when it died is the message it goes on with.
  const [key] = goal.once === "message" ? handed : [];
  return {
    startedAt: null,
    work: key === undefined ? { state: "waiting" } : { state: "begun", key },
    turns: 0,
    costUsd: null,
    limit: null,
    idleSince: null,
    relay: "unknown",
    signal: null,
    done: 0,
    failed: 0,
    dead: 0,
    text: null,
    failure: null,
    providerExit: null,
  };
}

/** True when this run works on the message: a `once` run has one piece of work, and the relay may have to be there. */
export function mayDeliver(state: State, row: Pick<JournalRow, "key" | "storeId">): boolean {
  const { config: { goal }, run } = state;
  if (goal.connectTimeoutMs !== null && run.relay !== "reached") return false;
  if (goal.once === null) return true;
  // A token that is refused ends the job before its work, however fast the agent was up.
  if (goal.bus && run.relay === "unknown") return false;
  if (run.work.state === "waiting") return goal.once === "message" || row.storeId === LOCAL_STORE;
  return run.work.state === "begun" && run.work.key === row.key;
}

/** True when the run has room for one more message; a `once` run that is at work leaves the rest at the relay. */
export function mayTake(state: State): boolean {
  return state.config.goal.once === null || state.run.work.state === "waiting";
}

/** Keeps the books when a message changes its state. */
export function moved(state: State, now: Now, row: JournalRow, next: MessageState): void {
  const { run, config: { goal } } = state;
  if (next.state === row.state.state) return;
  if (next.state === "done") run.done++;
  else if (next.state === "failed") run.failed++;
  else if (next.state === "dead") run.dead++;
  if ("reason" in next && next.state !== "dropped") run.failure = next.reason;
  if (goal.once === null) return;
  if (run.work.state === "waiting" && next.state === "delivering") {
    run.work = { state: "begun", key: row.key };
  }
  if (run.work.state !== "begun" || run.work.key !== row.key) return;
  switch (next.state) {
    case "done":
      run.work = { state: "done", key: row.key, at: now.mono };
      return;
    case "failed":
    case "dead":
    case "held":
      // Cut off by the end of the run: it was not done, and it is not its fault.
      if (state.phase.phase === "stopping") return;
      // Nobody mends a login in the middle of a job: what waits for a person has failed here.
      run.work = { state: "failed", reason: next.reason };
      return;
    case "skipped":
      run.work = { state: "waiting" };
      return;
  }
}

/** Adds what the provider says it has used. */
export function used(state: State, turns: number, costUsd: number | undefined): void {
  state.run.turns += turns;
  if (costUsd !== undefined) state.run.costUsd = (state.run.costUsd ?? 0) + costUsd;
}

/** The end that is due by the run's own goal; `withinMs` is how long the provider may still finish something. */
export interface GoalEnd {
  outcome: ExitOutcome;
  withinMs: number;
}

/** Says whether the goal is reached or out of reach now, null when the run goes on. */
export function goalEnd(state: State, now: Now): GoalEnd | null {
  const { run, config: { goal } } = state;
  if (run.startedAt === null) return null;
  const deregister = state.rows.size === 0;
  const fail = (code: GoalError, message: string): GoalEnd => ({
    outcome: { cause: { kind: "error", code, message }, deregister },
    withinMs: 0,
  });
  if (run.work.state === "done") {
    const told = !doneUntold(state) || now.mono >= run.work.at + SETTLE_MS;
    return told ? completed(state) : null;
  }
  const limit = limitOf(state, now);
  if (limit !== null) return fail("E_LIMIT", limit);
  if (run.work.state === "failed") return fail("E_TURN_FAILED", run.work.reason);
  if (goal.once !== null) {
    if (state.fault !== null) return fail("E_TURN_FAILED", state.fault.reason);
    if (!state.storage.ok && run.work.state === "waiting") {
      return fail("E_STATE_WRITE", `the journal cannot be written: ${state.storage.reason}`);
    }
  }
  const ci = goal.once !== null || goal.connectTimeoutMs !== null;
  if (run.relay !== "reached" && run.work.state === "waiting") {
    if (ci && state.bus === "auth") return fail("E_RELAY_AUTH", "the relay refuses the token");
    if (goal.connectTimeoutMs !== null && now.mono >= run.startedAt + goal.connectTimeoutMs) {
      return fail(
        "E_RELAY_UNREACHABLE",
        `the relay was not reached within ${flagDuration(goal.connectTimeoutMs)}`,
      );
    }
  }
  return idleEnd(state, now, fail);
}

type GoalError = Extract<
  ErrorCode,
  "E_LIMIT" | "E_TURN_FAILED" | "E_STATE_WRITE" | "E_RELAY_AUTH" | "E_RELAY_UNREACHABLE"
>;

function completed(state: State): GoalEnd {
  return {
    outcome: { cause: { kind: "completed" }, deregister: state.rows.size === 0 },
    withinMs: state.config.drainTimeoutMs,
  };
}

function limitOf(state: State, now: Now): string | null {
  const { run, config: { goal } } = state;
  if (run.limit !== null) return run.limit;
  if (goal.maxTimeMs !== null && now.mono >= run.startedAt! + goal.maxTimeMs) {
    return `the time limit of ${flagDuration(goal.maxTimeMs)} is reached`;
  }
  if (goal.maxTurns !== null) {
    // An agent that serves ends between two messages; only what goes beyond the limit is cut off.
    const between = goal.once === null && state.flight.size === 0;
    if (run.turns > goal.maxTurns || (between && run.turns === goal.maxTurns)) {
      return `the limit of ${goal.maxTurns} ${goal.maxTurns === 1 ? "turn" : "turns"} is reached`;
    }
  }
  if (goal.maxCostUsd !== null && run.costUsd !== null && run.costUsd >= goal.maxCostUsd) {
    return `the cost limit of ${goal.maxCostUsd} USD is reached`;
  }
  return null;
}

function idleEnd(
  state: State,
  now: Now,
  fail: (code: GoalError, message: string) => GoalEnd,
): GoalEnd | null {
  const { run, config: { goal } } = state;
  if (goal.exitOnIdleMs === null) return null;
  if (!isIdle(state)) {
    run.idleSince = null;
    return null;
  }
  run.idleSince ??= now.mono;
  if (now.mono < run.idleSince + goal.exitOnIdleMs) return null;
  // Nothing to do because nothing could be done is no good end.
  if (state.fault !== null) return fail("E_TURN_FAILED", state.fault.reason);
  if (run.relay !== "reached" && state.bus === "auth") {
    return fail("E_RELAY_AUTH", "the relay refuses the token");
  }
  if (goal.bus && run.relay !== "reached" && state.bus === "down") {
    return fail("E_RELAY_UNREACHABLE", "the relay was not reached in the whole run");
  }
  const lost = run.failed + run.dead;
  if (lost > 0) {
    return fail(
      "E_TURN_FAILED",
      `${lost} of ${lost + run.done} messages failed: ${run.failure ?? "unknown"}`,
    );
  }
  return completed(state);
}

/** True when nothing is under way and nothing can be begun. */
function isIdle(state: State): boolean {
  const { provider } = state;
  if (provider.state !== "ready" || provider.activity !== "idle") return false;
  if (state.flight.size > 0 || state.claiming.size > 0) return false;
  if (state.bus === "up" && state.acks.size + state.replies.size > 0) return false;
  // Behind a fault the queue stands still.
  if (state.fault !== null) return true;
  for (const row of state.rows.values()) {
    if (row.state.state === "retry" || row.state.state === "claimed") return false;
    if (row.state.state !== "received" || row.message === null) continue;
    // A claim needs the relay; without it this one cannot be begun.
    if (mayDeliver(state, row) && (!row.message.claimable || state.bus === "up")) return false;
  }
  return true;
}

/** True when a job's work is done and its ack or its answer has not reached the relay. */
export function doneUntold(state: State): boolean {
  return state.run.work.state === "done" && state.rows.has(state.run.work.key);
}

/** Returns the monotonic time at which the goal has to be looked at again, Infinity when only an event can matter. */
export function goalDue(state: State): number {
  const { run, config: { goal } } = state;
  if (run.startedAt === null || state.phase.phase !== "running") return Infinity;
  let due = Infinity;
  if (goal.maxTimeMs !== null) due = Math.min(due, run.startedAt + goal.maxTimeMs);
  if (goal.connectTimeoutMs !== null && run.relay !== "reached") {
    due = Math.min(due, run.startedAt + goal.connectTimeoutMs);
  }
  if (goal.exitOnIdleMs !== null && run.idleSince !== null) {
    due = Math.min(due, run.idleSince + goal.exitOnIdleMs);
  }
  if (run.work.state === "done") due = Math.min(due, run.work.at + SETTLE_MS);
  return due;
}

/** Returns what the run has come to. */
export function reportOf(state: State): RunReport {
  const { run, config: { goal } } = state;
  let open = 0;
  for (const { state: { state: name } } of state.rows.values()) {
    if (name !== "done" && name !== "failed") open++;
  }
  return {
    once: goal.once,
    work: run.work.state,
    turns: run.turns,
    costUsd: run.costUsd,
    signal: run.signal,
    messages: { done: run.done, failed: run.failed, dead: run.dead, open },
    text: run.text,
    failure: run.failure,
    conversation: state.opening ? null : state.resume,
    providerExit: run.providerExit,
  };
}

/** Prompts of an earlier run: each belongs to its run, which is over, and whoever wants it again gives it again. */
export function abandoned(state: State): JournalRow[] {
  return [...state.rows.values()].filter((row) => row.storeId === LOCAL_STORE);
}
