import { Agenda } from "../../base/agenda.ts";
import type { JournalSnapshot } from "../../inbox/contract.ts";
import { bodyBytes, inFlight, mayAck } from "../../inbox/core/row.ts";
import { initialProgress } from "./goal.ts";
import { isTask } from "./status.ts";
import type { CoreConfig, State } from "./types.ts";
import { enqueue } from "./waiting.ts";

/** Keys and command ids remembered for dedup. */
export const KNOWN_LIMIT = 10_000;

/** Which conversation is taken up first; null for a new one. */
function firstConversation(wish: string, last: string | null): string | null {
  return wish === "new" ? null : wish === "last" ? last : wish;
}

/**
 * Returns the state a run starts with: what the journal holds, nothing spawned, the bus down. Deliveries that
 * were in flight when the last run ended are suspects: their fate is asked from the provider's record once it
 * is ready, never guessed.
 */
export function initialState(config: CoreConfig, snapshot: JournalSnapshot): State {
  const left = (name: "skipped" | "dropped") =>
    new Map(snapshot.left.filter((row) => row.state.state === name).map((row) => [row.key, row]));
  const state: State = {
    config,
    phase: { phase: "running" },
    run: initialProgress(
      config.goal,
      snapshot.open.filter((row) => inFlight(row.state)).map((row) => row.key),
    ),
    provider: { state: "none" },
    incarnation: snapshot.incarnation,
    resume: firstConversation(config.conversation, snapshot.resume),
    opening: true,
    bus: "down",
    storeId: null,
    relayClock: null,
    clockOffset: null,
    fault: null,
    storage: { ok: true },
    exits: [],
    healthySince: null,
    signAt: 0,
    silence: { silence: "none" },
    rows: new Map(),
    bodyBytes: 0,
    mail: [],
    work: [],
    held: new Set(),
    fetches: new Agenda(),
    known: new Set(snapshot.known),
    skipped: left("skipped"),
    gone: left("dropped"),
    dead: new Map(snapshot.dead.map((row) => [row.key, { ...row, message: null }])),
    untold: new Set(),
    flight: new Set(),
    claimed: new Set(),
    interrupted: new Map(),
    tasks: new Set(),
    byDelivery: new Map(),
    lapsed: new Set(),
    refused: new Map(),
    traceless: new Map(),
    putBack: new Map(),
    leases: new Map(),
    claiming: new Map(),
    claimNotBefore: -Infinity,
    acks: new Agenda(),
    replies: new Agenda(),
    tries: new Map(),
    retries: new Agenda(),
    suspects: new Map(),
    progress: new Map(),
    intake: "open",
    resync: "idle",
    leftFrom: Infinity,
    resyncNotBefore: -Infinity,
    recovered: snapshot.open.map((row) => row.key),
    commands: new Map(snapshot.commands.map((row) => [row.commandId, row])),
    restarting: null,
    lastLifecycleAt: -Infinity,
    published: null,
  };
  for (const row of snapshot.open) {
    const kept = row.state.state === "claimed" ? { ...row, state: { state: "received" as const } } : row;
    state.rows.set(kept.key, kept);
    if (kept.message !== null) state.bodyBytes += bodyBytes(kept.message);
    if (kept.state.state === "received") enqueue(state, kept);
    if (kept.state.state === "held") state.held.add(kept.key);
    // Back-off was wall-clock time of an earlier run; a restart is a good moment to try again.
    if (kept.state.state === "retry") state.retries.set(kept.key, -Infinity);
    if (mayAck(kept) && !kept.acked) state.acks.set(kept.key, -Infinity);
    if (kept.reply !== null) state.replies.set(kept.key, -Infinity);
    if (inFlight(kept.state)) {
      state.flight.add(kept.key);
      if (kept.message?.claimable) state.claimed.add(kept.key);
      if (isTask(kept)) state.tasks.add(kept.key);
      state.byDelivery.set(kept.state.deliveryId, kept.key);
    }
  }
  return state;
}
