import type { JournalRow, MessageState } from "../../inbox/contract.ts";
import { LOCAL_STORE } from "../../inbox/core/row.ts";
import type { StatusPayload } from "../../protocol/frames.ts";
import { statusOf } from "./status.ts";
import type { Now, State } from "./types.ts";

/** Messages shown at most; the counts beside them are of all. */
const SHOWN = 10;
/** How far back an unexpected end of the agent counts as recent. */
const RECENT_MS = 60_000;

/** A message that the agent has or that waits for it. */
export interface MessageView {
  /** Null for the run's own prompt, which no relay knows. */
  messageId: number | null;
  from: string | null;
  subject: string | null;
  claimable: boolean;
  state: MessageState["state"];
  attempt: number;
  /** Why it waits or ended, or what proves how far it got. */
  because: string | null;
  /** How long this state has lasted. */
  forMs: number;
}

/** What there is to see of a running runner. Durations in milliseconds; shape of `GET /status`. */
export interface RunnerView {
  agentId: string;
  runnerId: string;
  providerName: string;
  label: string | null;
  headless: boolean;
  phase: string;
  provider: {
    state: string;
    incarnation: number;
    activity: string | null;
    /** How long the activity has lasted; null when there is none. */
    forMs: number | null;
    channel: string | null;
    /** Unexpected ends within the last minute. */
    recentExits: number;
  };
  conversation: string | null;
  bus: string;
  status: StatusPayload;
  /** Every message that has not ended, those in hand included. */
  queued: number;
  inFlight: number;
  dead: number;
  /** Those in hand, then those that wait, in the order of delivery. */
  messages: MessageView[];
  fault: string | null;
  run: {
    upMs: number;
    turns: number;
    costUsd: number | null;
    done: number;
    failed: number;
    dead: number;
  };
}

/** Returns what a person or a program may see of a run; made when somebody asks, since it is not needed otherwise. */
export function viewOf(state: State, now: Pick<Now, "mono" | "wall">): RunnerView {
  const { config, provider, run } = state;
  const ready = provider.state === "ready" ? provider : null;
  return {
    agentId: config.agentId,
    runnerId: config.runnerId,
    providerName: config.provider,
    label: config.label,
    headless: config.headless,
    phase: state.phase.phase,
    provider: {
      state: provider.state,
      incarnation: state.incarnation,
      activity: ready?.activity ?? null,
      forMs: ready === null ? null : Math.max(0, now.mono - ready.since),
      channel: ready?.channel ?? null,
      recentExits: state.exits.filter((at) => now.mono - at <= RECENT_MS).length,
    },
    conversation: state.resume,
    bus: state.bus,
    status: statusOf(state),
    queued: state.rows.size,
    inFlight: state.flight.size,
    dead: state.dead.size,
    messages: shownRows(state).map((row) => messageView(row, now.wall)),
    fault: state.fault?.reason ?? null,
    run: {
      upMs: run.startedAt === null ? 0 : Math.max(0, now.mono - run.startedAt),
      turns: run.turns,
      costUsd: run.costUsd,
      done: run.done,
      failed: run.failed,
      dead: run.dead,
    },
  };
}

/** The rows that come first. */
function shownRows(state: State): JournalRow[] {
  const keys = new Set<string>();
  for (const key of inOrder(state)) {
    if (keys.size === SHOWN) break;
    if (state.rows.has(key)) keys.add(key);
  }
  return [...keys].map((key) => state.rows.get(key)!);
}

/** Keys of what is in flight, then of the lines in their order, then of what waits for something else; some twice. */
function* inOrder(state: State): Generator<string> {
  yield* state.flight;
  for (const { key } of state.mail) yield key;
  for (const { key } of state.work) yield key;
  yield* state.rows.keys();
}

function messageView(row: JournalRow, wall: number): MessageView {
  const { state, message } = row;
  const because = "reason" in state ? state.reason : "evidence" in state ? state.evidence : null;
  return {
    messageId: row.storeId === LOCAL_STORE ? null : row.messageId,
    from: message?.from ?? null,
    subject: message?.subject ?? null,
    claimable: message?.claimable ?? false,
    state: state.state,
    attempt: row.attempt,
    because,
    forMs: Math.max(0, wall - row.updatedAt),
  };
}
