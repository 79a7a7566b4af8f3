import type { StatusPayload } from "../../protocol/frames.ts";
import type { State } from "./types.ts";

/** Why an agent is busy. */
export type BusyReason = "provider-turn" | "message" | "task" | "command" | "approval";

/**
 * Returns what the bus is told: derived from the process and the queue every time, never stored beside them, so
 * that the status cannot contradict the process table. `ready` implies a living provider that takes messages.
 */
export function statusOf(state: State): StatusPayload {
  const reasons = busyReasons(state);
  const meta: Record<string, unknown> = {
    runnerId: state.config.runnerId,
    incarnation: state.incarnation,
    busyReasons: reasons,
    queued: state.rows.size,
    dead: state.dead.size,
  };
  if (state.provider.state === "ready" && state.provider.channel !== undefined) {
    meta.delivery = state.provider.channel;
  }
  const not = (agentStatus: StatusPayload["agentStatus"], reason: string): StatusPayload => ({
    agentStatus,
    ready: false,
    meta: { ...meta, reason },
  });
  if (state.phase.phase === "ended") return not("offline", "ended");
  switch (state.provider.state) {
    case "failed":
      return not("error", state.provider.reason);
    case "waiting":
      return not("error", `provider ended (${state.provider.reason}), starting it again`);
    case "none":
    case "spawning":
    case "starting":
      // A dialog that waits for the person at the terminal; nobody else can answer it.
      if (state.fault !== null) return not("busy", state.fault.reason);
      return not("online", "starting");
    case "stopping":
      return not("busy", "stopping");
    case "ready":
      break;
  }
  if (state.phase.phase !== "running") return not("busy", "draining");
  if (!state.storage.ok) return not("error", `storage: ${state.storage.reason}`);
  if (state.fault !== null) return not("error", state.fault.reason);
  return { agentStatus: reasons.length > 0 ? "busy" : "idle", ready: true, meta };
}

function busyReasons(state: State): BusyReason[] {
  const reasons = new Set<BusyReason>();
  if (state.provider.state === "ready") {
    if (state.provider.activity === "busy") reasons.add("provider-turn");
    if (state.provider.activity === "approval") reasons.add("approval");
  }
  for (const key of state.flight) {
    const row = state.rows.get(key);
    reasons.add(row?.message?.claimable && row.message.kind === "task" ? "task" : "message");
    // Two reasons at most come from the queue; a window of 64 need not be walked to its end.
    if (reasons.size >= 4) break;
  }
  if (state.phase.phase !== "running" || state.restarting !== null) reasons.add("command");
  return [...reasons];
}
