import type { CommandPayload, CommandRefusal } from "../../protocol/frames.ts";
import { inFlight } from "../../inbox/core/row.ts";
import { move } from "./ledger.ts";
import { endReason } from "./status.ts";
import type { Effect, ExitOutcome, Now, State } from "./types.ts";

/** The only commands a runner obeys (S-16). */
const LIFECYCLE = new Set(["agent.shutdown", "agent.restart", "agent.kill"]);
/** At most one lifecycle command in this time, except `agent.kill`. */
const LIFECYCLE_SPACING_MS = 5_000;
/** How long an orderly end may take beyond the drain before the guard ends everything. */
const END_SLACK_MS = 12_000;
/** How long a hard end may take. */
const HARD_MS = 2_000;
/** Command ids remembered. */
const COMMAND_LIMIT = 10_000;

/** A lifecycle command from the bus: exact target, once per id, one at a time. */
export function command(state: State, effects: Effect[], now: Now, payload: CommandPayload): void {
  const { commandId, commandType: type, target } = payload;
  if (!LIFECYCLE.has(type)) return;
  if (target !== state.config.agentId && target !== state.config.runnerId) return;
  if (state.commands.has(commandId)) return;
  const refuse = (reason: string, result?: CommandRefusal) =>
    effects.push({
      type: "command.update",
      update: { commandId, status: "failed", error: reason, ...(result === undefined ? {} : { result }) },
    });
  if (!state.config.remoteLifecycle) return void refuse("lifecycle commands are turned off for this agent");
  const hard = type === "agent.kill";
  const retryAfterMs = Math.ceil(state.lastLifecycleAt + LIFECYCLE_SPACING_MS - now.mono);
  if (!hard && retryAfterMs > 0) {
    return void refuse("another lifecycle command came less than 5 s ago", { code: "E_RATE", retryAfterMs });
  }
  if (!hard && state.phase.phase !== "running") {
    return void refuse("the agent is stopping already", { code: "E_STOPPING" });
  }
  if (type === "agent.restart" && state.restarting !== null) {
    return void refuse("another restart is under way");
  }
  state.lastLifecycleAt = now.mono;
  remember(state, effects, now, commandId, type);
  // An end must come about whatever the disk does. A restart waits until its id is on disk: a run that comes after
  // could not know that it has happened.
  if (type === "agent.restart") effects.push({ type: "begin", commandId });
  else begin(state, effects, now, commandId);
}

/** Begins what a command asks for. */
export function begin(state: State, effects: Effect[], now: Now, commandId: string): void {
  const type = state.commands.get(commandId)?.type;
  if (type === undefined) return;
  effects.push({ type: "command.update", update: { commandId, status: "accepted" } });
  effects.push({ type: "command.update", update: { commandId, status: "running" } });
  effects.push({ type: "log", level: "info", message: "lifecycle command", fields: { type, commandId } });
  const outcome: ExitOutcome = { cause: { kind: "command", commandId, action: type }, deregister: true };
  if (type === "agent.kill") stopHard(state, effects, outcome);
  else if (type === "agent.shutdown") drain(state, effects, now, { then: "exit", outcome });
  else if (state.phase.phase === "running") {
    state.restarting = commandId;
    drain(state, effects, now, { then: "respawn", outcome });
  }
}

function remember(state: State, effects: Effect[], now: Now, commandId: string, type: string): void {
  const row = { commandId, type, phase: "started" as const, at: now.wall };
  state.commands.set(commandId, row);
  if (state.commands.size > COMMAND_LIMIT) {
    const oldest = state.commands.keys().next().value;
    if (oldest !== undefined) state.commands.delete(oldest);
  }
  effects.push({ type: "persist.command", row });
}

/**
 * Answers the commands of earlier runs whose answer the relay may not have. None is run again: a restart that was under
 * way when its run died has an unknown effect; an end has come about in any case.
 */
export function answerEarlier(state: State, effects: Effect[]): void {
  for (const { commandId, type, phase } of state.commands.values()) {
    if (phase === "told") continue;
    const known = phase === "ended" || type !== "agent.restart";
    effects.push({
      type: "command.update",
      update: known
        ? { commandId, status: "succeeded", result: { action: type, agentId: state.config.agentId } }
        : { commandId, status: "failed", error: "the runner ended while the command ran" },
    });
  }
}

/** The relay has the answer to a command: nothing is owed any more. */
export function told(state: State, effects: Effect[], now: Now, commandId: string): void {
  const row = state.commands.get(commandId);
  if (row === undefined || row.phase === "told") return;
  const ended = { ...row, phase: "told" as const, at: now.wall };
  state.commands.set(commandId, ended);
  effects.push({ type: "persist.command", row: ended });
}

/** A signal: the first one drains, any second one ends everything within 2 s. */
export function signal(state: State, effects: Effect[], now: Now, name: string): void {
  // The person's Ctrl-C belongs to the agent in the terminal; without one it is how they get out.
  if (name === "SIGINT" && !state.config.headless && "incarnation" in state.provider) return;
  const { phase } = state;
  const first = state.run.signal === null;
  state.run.signal ??= name;
  const say = (message: string) =>
    effects.push({ type: "log", level: "info", message, fields: { signal: name } });
  if (phase.phase === "running" || (phase.phase !== "ended" && phase.then === "respawn")) {
    say("signal, the run drains");
    drain(state, effects, now, {
      then: "exit",
      outcome: { cause: { kind: "drained" }, deregister: false },
    });
    return;
  }
  // A run that is ending by its own goal does what a first signal asks for.
  if (first && phase.phase !== "ended" && ["completed", "error"].includes(phase.outcome.cause.kind)) return;
  say("signal, the run ends at once");
  stopHard(state, effects, { cause: { kind: "signal", signal: name }, deregister: false });
}

/** What a drain leads to. */
export interface Drain {
  then: "exit" | "respawn";
  outcome: ExitOutcome;
  /** How long the current turn may go on; the configured drain timeout when left out. */
  withinMs?: number;
}

/** Takes no more work, lets the current turn finish within its time, then stops the provider. */
export function drain(
  state: State,
  effects: Effect[],
  now: Now,
  { then, outcome, withinMs = state.config.drainTimeoutMs }: Drain,
): void {
  const deadline = now.mono + withinMs;
  state.phase = {
    phase: "draining",
    deadline,
    then,
    outcome,
  };
  if (then === "exit") {
    effects.push({ type: "watchdog", hardAfterMs: withinMs + END_SLACK_MS });
  }
  releaseUndone(state, effects, now);
}

/** Claimed work that nobody works on goes back at once, so that another agent need not wait for the lease. */
export function releaseUndone(state: State, effects: Effect[], now: Now): void {
  for (const [key] of state.leases) {
    const row = state.rows.get(key);
    if (!row || inFlight(row.state) || row.state.state === "done") continue;
    state.leases.delete(key);
    if (row.state.state === "claimed") move(state, effects, now, row, { state: "received" });
    effects.push({ type: "release", messageId: row.messageId });
  }
}

function stopHard(state: State, effects: Effect[], outcome: ExitOutcome): void {
  if (state.phase.phase === "ended") return;
  state.phase = { phase: "stopping", then: "exit", outcome };
  effects.push({ type: "watchdog", hardAfterMs: HARD_MS });
  if ("incarnation" in state.provider) {
    state.provider = { state: "stopping", incarnation: state.provider.incarnation };
    effects.push({ type: "stop-provider", graceful: false, timeoutMs: 0 });
  }
}

/** The process outgrew its bound and would be killed at a worse moment: it ends in order, what is open is on disk. */
export function outOfMemory(state: State, effects: Effect[], rssBytes: number): void {
  const message = `the runner uses ${Math.round(rssBytes / 1024 / 1024)} MiB of memory`;
  effects.push({ type: "log", level: "error", message });
  stopHard(state, effects, { cause: { kind: "error", code: "E_INTERNAL", message }, deregister: false });
}

/** Moves a drain on: stops the provider when the turn ended or time is up, then ends the run or starts anew. */
export function advanceEnd(state: State, effects: Effect[], now: Now): void {
  if (state.phase.phase === "draining") {
    const busy = state.provider.state === "ready" &&
      (state.flight.size > 0 || state.provider.activity !== "idle");
    if (busy && now.mono < state.phase.deadline) return;
    const { then, outcome } = state.phase;
    state.phase = { phase: "stopping", then, outcome };
    if ("incarnation" in state.provider && state.provider.state !== "stopping") {
      state.provider = { state: "stopping", incarnation: state.provider.incarnation };
      effects.push({ type: "stop-provider", graceful: true, timeoutMs: state.config.stopGraceMs });
    }
  }
  if (state.phase.phase !== "stopping" || "incarnation" in state.provider) return;
  if (state.phase.then === "respawn") {
    state.phase = { phase: "running" };
    state.provider = { state: "none" };
    return;
  }
  const { outcome } = state.phase;
  if (state.restarting !== null) {
    const update = {
      commandId: state.restarting,
      status: "failed" as const,
      error: `the run ${endReason(outcome)}`,
    };
    effects.push({ type: "command.update", update });
    state.restarting = null;
  }
  // A turn that was cut off by the end is proven to be over; what may still be under way keeps its lease.
  releaseUndone(state, effects, now);
  state.phase = { phase: "ended" };
  effects.push({ type: "exit", outcome });
}
