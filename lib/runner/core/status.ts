import { shown } from "../../base/errors.ts";
import type { JournalRow } from "../../inbox/contract.ts";
import type { StatusPayload } from "../../protocol/frames.ts";
import { quitByPerson } from "../../providers/quit.ts";
import type { ExitOutcome, State } from "./types.ts";

/** Why an agent is busy, in the order in which the bus is told. */
export const BUSY_REASONS = ["provider-turn", "approval", "message", "task", "command"] as const;

/**
 * What there is to say about an agent, without what is for display only. Cheap to make and to compare, since it is
 * made after every event.
 */
export interface Verdict {
  agentStatus: StatusPayload["agentStatus"];
  ready: boolean;
  reason: string | null;
  /** One bit per entry of {@linkcode BUSY_REASONS}. */
  busy: number;
  incarnation: number;
  dead: number;
  channel: string | undefined;
}

/**
 * Returns what the bus is told: derived from the process and the queue every time, never stored beside them, so
 * that the status cannot contradict the process table. `ready` implies a living provider that takes messages.
 */
export function statusOf(state: State, verdict: Verdict = verdictOf(state)): StatusPayload {
  const { agentStatus, ready, reason, busy, incarnation, dead, channel } = verdict;
  return {
    agentStatus,
    ready,
    meta: {
      runnerId: state.config.runnerId,
      incarnation,
      busyReasons: BUSY_REASONS.filter((_, bit) => (busy & (1 << bit)) !== 0),
      queued: openCount(state),
      dead,
      ...(channel === undefined ? {} : { delivery: channel }),
      ...(reason === null ? {} : { reason }),
    },
  };
}

/** Messages that wait or are in hand. What is only owed to the relay (an ack, an answer) is over for the agent. */
function openCount({ rows, acks, replies, flight }: State): number {
  let owed = 0;
  for (const key of acks.keys()) if (!flight.has(key)) owed++;
  for (const key of replies.keys()) if (!flight.has(key) && !acks.has(key)) owed++;
  return rows.size - owed;
}

/** Says how things stand now. */
export function verdictOf(state: State): Verdict {
  const busy = busyBits(state);
  const { provider, fault } = state;
  const say = (agentStatus: Verdict["agentStatus"], ready: boolean, reason: string | null): Verdict => ({
    agentStatus,
    ready,
    reason,
    busy,
    incarnation: state.incarnation,
    dead: state.dead.size,
    channel: provider.state === "ready" ? provider.channel : undefined,
  });
  if (state.phase.phase === "ended") return say("offline", false, "ended");
  switch (provider.state) {
    case "failed":
      return say("error", false, provider.reason);
    case "waiting":
      return say("error", false, `provider ended (${provider.reason}), starting it again`);
    case "none":
    case "spawning":
    case "starting":
      // A dialog that waits for the person at the terminal; nobody else can answer it.
      if (fault !== null) return say("busy", false, fault.reason);
      return say("online", false, "starting");
    case "stopping":
      return provider.because === undefined
        ? say("busy", false, "stopping")
        : say("error", false, `the agent hangs: ${provider.because}`);
    case "ready":
      break;
  }
  if (state.phase.phase !== "running") return say("busy", false, "draining");
  if (!state.storage.ok) return say("error", false, `storage: ${state.storage.reason}`);
  if (fault !== null) return say("error", false, fault.reason);
  if (state.silence.silence === "interrupted") return say("error", false, "the agent hangs in its turn");
  return say(busy === 0 ? "idle" : "busy", true, null);
}

/** Says why an agent is not there any more, for whoever asks later. */
export function endReason({ cause }: ExitOutcome): string {
  if (cause.kind === "error") return `ended: ${shown(cause.message, 300)}`;
  if (cause.kind !== "provider") return "ended";
  return quitByPerson(cause.status) ? "ended: the person quit it" : `ended: exit code ${cause.status.code}`;
}

/** True when two verdicts say the same. */
export function sameVerdict(a: Verdict, b: Verdict): boolean {
  return a.agentStatus === b.agentStatus && a.ready === b.ready && a.reason === b.reason &&
    a.busy === b.busy &&
    a.incarnation === b.incarnation && a.dead === b.dead && a.channel === b.channel;
}

/** True for work that is called a task on the bus. */
export function isTask({ message }: JournalRow): boolean {
  return message !== null && message.claimable && message.kind === "task";
}

function busyBits(state: State): number {
  let bits = 0;
  if (state.provider.state === "ready") {
    if (state.provider.activity === "busy") bits |= 1;
    if (state.provider.activity === "approval") bits |= 2;
  }
  if (state.flight.size > state.tasks.size) bits |= 4;
  if (state.tasks.size > 0) bits |= 8;
  if (state.phase.phase !== "running" || state.restarting !== null) bits |= 16;
  return bits;
}
