import { showDuration } from "../../base/duration.ts";
import type { Effect, Now, State } from "./types.ts";

/** How long the processor time of a silent agent is watched. */
const WATCH_MS = 60_000;
/** Less of it within that time is an agent that does nothing: a runtime at rest wakes up now and then. */
const BUSY_CPU_MS = 1_000;
/** How long an interrupt may take to show. */
const INTERRUPT_MS = 10_000;

/** The agent gave a sign of life. */
export function sign(state: State, now: Now): void {
  state.signAt = now.mono;
  state.silence = { silence: "none" };
}

/**
 * Ends what hangs: an agent that was started and does not get ready, and one that gives no sign of life in a turn and
 * uses no processor time. A turn that waits for a person is no such turn, and neither is a long tool that works.
 */
export function watchAgent(state: State, effects: Effect[], now: Now): void {
  const due = hangDue(state);
  if (now.mono < due) return;
  const { provider, silence, config } = state;
  if (provider.state === "starting") {
    return giveUp(state, effects, `it was not ready within ${showDuration(config.startTimeoutMs)}`);
  }
  if (silence.silence === "interrupted") {
    return giveUp(state, effects, `no sign of life for ${showDuration(now.mono - state.signAt)}`);
  }
  if (provider.state !== "ready") return;
  state.silence = { silence: "asked", cpuMs: silence.silence === "watched" ? silence.cpuMs : null };
  effects.push({ type: "measure", incarnation: provider.incarnation });
}

/** Monotonic time at which {@linkcode watchAgent} has something to do; Infinity when only an event can change that. */
export function hangDue({ provider, config, silence, signAt, phase }: State): number {
  if (phase.phase !== "running") return Infinity;
  if (provider.state === "starting") return provider.since + config.startTimeoutMs;
  if (provider.state !== "ready" || provider.activity !== "busy") return Infinity;
  switch (silence.silence) {
    case "none":
      return Math.max(signAt, provider.since) + config.stallTimeoutMs;
    case "asked":
      return Infinity;
    case "watched":
    case "interrupted":
      return silence.until;
  }
}

/** The processor time that the agent has used so far, with what it started; null when nobody can tell. */
export function measured(state: State, effects: Effect[], now: Now, cpuMs: number | null): void {
  const { silence } = state;
  if (silence.silence !== "asked") return;
  if (cpuMs !== null && silence.cpuMs === null) {
    state.silence = { silence: "watched", cpuMs, until: now.mono + WATCH_MS };
    return;
  }
  // What cannot be measured is nobody's proof of a hang.
  if (cpuMs === null || cpuMs - silence.cpuMs! >= BUSY_CPU_MS) return sign(state, now);
  state.silence = { silence: "interrupted", until: now.mono + INTERRUPT_MS };
  const forMs = Math.round(now.mono - state.signAt);
  const message = "the agent gives no sign of life in its turn, which is interrupted";
  effects.push({ type: "log", level: "warn", message, fields: { forMs } });
  effects.push({ type: "interrupt" });
}

/** Ends the agent; that counts as an end of its own, after which it is started again. */
export function giveUp(state: State, effects: Effect[], because: string): void {
  if (!("incarnation" in state.provider) || state.phase.phase !== "running") return;
  const { incarnation } = state.provider;
  state.silence = { silence: "none" };
  state.provider = { state: "stopping", incarnation, because };
  effects.push({ type: "log", level: "error", message: "the agent hangs and is ended", fields: { because } });
  effects.push({ type: "stop-provider", graceful: true, timeoutMs: state.config.stopGraceMs });
}
