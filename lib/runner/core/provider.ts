import { LOCAL_STORE } from "../../inbox/core/row.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { FailureClass, ProviderEvent, ProviderExit } from "../../providers/contract.ts";
import { quitByPerson } from "../../providers/quit.ts";
import { unwanted } from "./claims.ts";
import { used } from "./goal.ts";
import { sign } from "./hang.ts";
import { requeue, rowOf } from "./ledger.ts";
import { done, evidence, failedTurn, holdQueue } from "./turns.ts";
import type { Effect, ExitOutcome, Now, State } from "./types.ts";

/** More unexpected exits than this within {@linkcode BREAKER_WINDOW_MS} are a crash loop. */
const BREAKER_EXITS = 5;
const BREAKER_WINDOW_MS = 60_000;
/** Healthy for this long: the back-off starts anew. */
const HEALTHY_MS = 300_000;

/**
 * An agent of a terminal that ends by itself sooner than this after it was first ready never began: Claude Code is
 * listening already when it finds that the conversation to resume is not there.
 */
const STARTED_MS = 5_000;

/** Usage error, not executable, not found: trying again cannot help. */
const USELESS_EXITS = new Set([2, 126, 127]);

/** Starts the next incarnation. */
export function spawn(state: State, effects: Effect[]): void {
  state.incarnation++;
  state.provider = { state: "spawning", incarnation: state.incarnation };
  const { incarnation, resume, opening } = state;
  effects.push({ type: "spawn", incarnation, resume, opening, unwanted: unwanted(state) });
}

/** True when an event belongs to the provider that runs now; late ones of an old process are dropped. */
export function isCurrent(state: State, incarnation: number): boolean {
  const provider = state.provider;
  return "incarnation" in provider && provider.incarnation === incarnation;
}

/** The process runs; `ready` follows. */
export function spawned(state: State, now: Now, incarnation: number): void {
  if (state.provider.state === "spawning" && state.provider.incarnation === incarnation) {
    state.provider = { state: "starting", incarnation, since: now.mono };
  }
}

/** The process could not be started. A missing or broken command is final, everything else is tried again. */
export function spawnFailed(
  state: State,
  effects: Effect[],
  now: Now,
  incarnation: number,
  permanent: boolean,
  reason: string,
): void {
  if (!isCurrent(state, incarnation)) return;
  if (!permanent || state.phase.phase !== "running") return died(state, effects, now, reason);
  state.provider = { state: "failed", reason };
  endWithError(state, "E_PROVIDER_CMD", reason);
}

/** The process ended. */
export function exited(
  state: State,
  effects: Effect[],
  now: Now,
  incarnation: number,
  status: ProviderExit,
): void {
  if (!isCurrent(state, incarnation)) return;
  // What a process that died did not take says nothing about the message.
  state.refused.clear();
  state.traceless.clear();
  state.run.providerExit = status;
  if (state.provider.state === "stopping") {
    const { because } = state.provider;
    if (because === undefined) state.provider = { state: "none" };
    else if (neverBegins(state) && state.phase.phase === "running") {
      cannotStart(state, because);
    } else died(state, effects, now, because);
    return;
  }
  if (!state.config.headless && quitByPerson(status) && state.phase.phase === "running") {
    // The person quit the agent: that ends the run, not the supervision of it.
    return endWithProvider(state, status);
  }
  const how = status.signal === null ? `exit code ${status.code}` : `signal ${status.signal}`;
  const reason = status.lastWords === undefined ? how : `${how}: ${status.lastWords}`;
  if (isUseless(state, status) && state.phase.phase === "running") {
    return cannotStart(state, reason);
  }
  const healthyMs = state.healthySince === null ? 0 : now.mono - state.healthySince;
  const neverWorked = state.exits.length === 0 && healthyMs < STARTED_MS;
  if (!state.config.headless && neverWorked && status.signal === null && state.phase.phase === "running") {
    // It said why on the person's terminal, or they said no to one of its first questions: nothing to start again.
    return endWithProvider(state, status);
  }
  died(state, effects, now, reason);
}

/** True when another start would end the same way, for all that can be told. */
function isUseless(state: State, { code, signal }: ExitStatus): boolean {
  if (state.provider.state === "ready" || signal !== null) return false;
  return USELESS_EXITS.has(code) || neverBegins(state);
}

/** Whoever waits for a job wants to know by the second time that it does not even begin. */
function neverBegins({ config, opening, exits }: State): boolean {
  return config.goal.once !== null && opening && exits.length > 0;
}

function cannotStart(state: State, reason: string): void {
  state.provider = { state: "failed", reason };
  endWithError(state, "E_PROVIDER_CMD", `the provider cannot be started (${reason})`);
}

function died(state: State, effects: Effect[], now: Now, reason: string): void {
  if (state.phase.phase !== "running") {
    state.provider = { state: "none" };
    return;
  }
  if (state.healthySince !== null && now.mono - state.healthySince > HEALTHY_MS) state.exits = [];
  state.healthySince = null;
  state.exits.push(now.mono);
  const recent = state.exits.filter((at) => now.mono - at <= BREAKER_WINDOW_MS).length;
  if (recent > BREAKER_EXITS) {
    state.provider = { state: "failed", reason: `crash loop: ${reason}` };
    effects.push({ type: "log", level: "error", message: "provider is in a crash loop", fields: { reason } });
    if (state.config.headless) {
      endWithError(state, "E_CRASH_LOOP", `the provider ended ${recent} times within 60 s (${reason})`);
    }
    return;
  }
  const spread = Math.min(60_000, 1_000 * 2 ** Math.min(16, state.exits.length));
  const delayMs = 1_000 + now.random * spread;
  state.provider = { state: "waiting", until: now.mono + delayMs, reason };
  effects.push({
    type: "log",
    level: "warn",
    message: "provider ended, starting it again",
    fields: { reason, delayMs: Math.round(delayMs) },
  });
}

/** The agent's end is the run's, with its own exit code. */
function endWithProvider(state: State, status: ExitStatus): void {
  state.provider = { state: "none" };
  state.phase = {
    phase: "stopping",
    then: "exit",
    outcome: { cause: { kind: "provider", status }, deregister: false },
  };
}

export function endWithError(
  state: State,
  code: "E_CRASH_LOOP" | "E_PROVIDER_CMD" | "E_INTERNAL",
  message: string,
): void {
  if (state.phase.phase === "ended") return;
  state.phase = {
    phase: "stopping",
    then: "exit",
    outcome: { cause: { kind: "error", code, message }, deregister: false },
  };
}

/** The person ended the agent: that ends the run, also while its process is being restarted. */
function quit(state: State, effects: Effect[], status: ExitStatus): void {
  const { phase } = state;
  if (phase.phase === "ended" || (phase.phase !== "running" && phase.then === "exit")) return;
  endAgent(state, effects, { cause: { kind: "provider", status }, deregister: false });
}

/** What the person asked of the agent cannot be had: the run ends. */
function refused(state: State, effects: Effect[], message: string): void {
  if (state.phase.phase !== "running") return;
  endAgent(state, effects, { cause: { kind: "error", code: "E_PROVIDER_CMD", message }, deregister: false });
}

/** Ends the run and with it an agent that may still be there. */
function endAgent(state: State, effects: Effect[], outcome: ExitOutcome): void {
  state.phase = { phase: "stopping", then: "exit", outcome };
  if (!("incarnation" in state.provider)) {
    state.provider = { state: "none" };
  } else if (state.provider.state !== "stopping") {
    state.provider = { state: "stopping", incarnation: state.provider.incarnation };
    effects.push({ type: "stop-provider", graceful: true, timeoutMs: state.config.stopGraceMs });
  }
}

/** An event of the live provider. */
export function providerEvent(
  state: State,
  effects: Effect[],
  now: Now,
  incarnation: number,
  event: ProviderEvent,
): void {
  if (event.type === "quit") return quit(state, effects, event.status);
  if (!isCurrent(state, incarnation)) return;
  sign(state, now);
  switch (event.type) {
    case "ready":
      return ready(state, effects, now, incarnation, event.resume, event.channel);
    case "conversation":
      return opened(state, effects, event.resume);
    case "refused":
      return refused(state, effects, event.reason);
    case "activity":
      if (event.activity === "idle") state.interrupted.clear();
      if (state.provider.state !== "ready" || state.provider.activity === event.activity) return;
      state.provider = { ...state.provider, activity: event.activity, since: now.mono };
      return;
    case "evidence":
      return evidence(state, effects, now, event.deliveryId, event.stage, event.evidence);
    case "turn":
      return used(state, 1, undefined);
    case "done":
      used(state, 0, event.costUsd);
      turnEnded(state, effects, event, { outcome: "done", text: event.text });
      for (const id of event.deliveryIds) state.interrupted.delete(id);
      for (const id of event.deliveryIds) done(state, effects, now, id, event.text, event.evidence);
      return;
    case "failed":
      used(state, 0, event.costUsd);
      if (event.failure === "limit") state.run.limit = event.reason;
      turnEnded(state, effects, event, { outcome: "failed", failure: event.failure, reason: event.reason });
      for (const id of event.deliveryIds) {
        state.interrupted.delete(id);
        failedTurn(state, effects, now, id, event.failure, event.reason);
      }
      return;
    case "fault":
      if (event.reason === null) state.fault = null;
      else if (state.fault?.reason !== event.reason) holdQueue(state, now, event.reason, "provider");
      return;
    case "output":
      effects.push({ type: "output", text: event.text });
      return;
  }
}

/** Tells those who follow the run how a turn ended, while its deliveries are still known. */
function turnEnded(
  state: State,
  effects: Effect[],
  event: { deliveryIds: string[]; costUsd?: number },
  result: { outcome: "done"; text: string } | { outcome: "failed"; failure: FailureClass; reason: string },
): void {
  const messageIds = event.deliveryIds.flatMap((id) => {
    const row = rowOf(state, id);
    return row === undefined || row.storeId === LOCAL_STORE ? [] : [row.messageId];
  });
  const cost = event.costUsd === undefined ? {} : { costUsd: event.costUsd };
  effects.push({ type: "turn", turn: { messageIds, ...cost, ...result } });
}

function ready(
  state: State,
  effects: Effect[],
  now: Now,
  incarnation: number,
  resume: string | null,
  channel: string | undefined,
): void {
  if (state.provider.state === "stopping" || state.provider.state === "ready") return;
  state.provider = {
    state: "ready",
    incarnation,
    activity: "idle",
    since: now.mono,
    ...(channel === undefined ? {} : { channel }),
  };
  state.healthySince = now.mono;
  state.interrupted.clear();
  opened(state, effects, resume);
  // A new process: what was wrong with the old one (login, quota) has to show itself again.
  state.fault = null;
  for (const key of state.flight) state.suspects.set(key, now.mono + state.config.settleMs);
  if (state.restarting !== null && state.phase.phase === "running") {
    answer(state, effects, now, state.restarting, "agent.restart");
    state.restarting = null;
  }
}

/** A conversation is open; null for a provider that has none. */
function opened(state: State, effects: Effect[], resume: string | null): void {
  // What was not open before is known from the journal, unless the person named it.
  const known = state.resume === resume && !(state.opening && state.config.conversation === resume);
  state.opening = false;
  if (resume === null || known) return;
  state.resume = resume;
  effects.push({ type: "persist.resume", resume });
}

/** Ends a command well. */
export function answer(state: State, effects: Effect[], now: Now, commandId: string, action: string): void {
  const row = { commandId, type: action, phase: "ended" as const, at: now.wall };
  state.commands.set(commandId, row);
  effects.push({ type: "persist.command", row });
  effects.push({
    type: "command.update",
    update: {
      commandId,
      status: "succeeded",
      result: { action, agentId: state.config.agentId, runnerId: state.config.runnerId },
    },
  });
}

/** Gives messages that were held a new chance when the fault is gone. */
export function releaseHeld(state: State, effects: Effect[], now: Now): void {
  for (const key of state.held) {
    const row = state.rows.get(key);
    if (row?.state.state === "held") requeue(state, effects, now, row);
    state.held.delete(key);
  }
}
