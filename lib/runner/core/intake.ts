import type { JournalRow } from "../../inbox/contract.ts";
import { bodyBytes, finished, inFlight, keyOf, LOCAL_STORE, receivedRow } from "../../inbox/core/row.ts";
import type { Message, SideStage, Stage } from "../../protocol/message.ts";
import { isForUs } from "./addressing.ts";
import { mayTake } from "./goal.ts";
import { backOff, move, report } from "./ledger.ts";
import { bury } from "./turns.ts";
import type { Effect, Event, Now, State } from "./types.ts";

/** Wait after pages of unread mail could not be fetched. */
const RESYNC_RETRY_MS = 2_000;
/** Texts that stay in memory when it is short. */
const SCARCE_BYTES = 1024 * 1024;

/** A message was offered by the relay. Known ones only repeat what the relay missed. */
export function offered(
  state: State,
  effects: Effect[],
  now: Now,
  message: Message,
  paged: boolean,
): void {
  const key = keyOf(message.storeId, message.id);
  const generation = message.generation ?? 0;
  const existing = state.rows.get(key);
  if (existing) {
    // Re-opened at the relay while our record of its death was lost: the same life goes on under the new number.
    if (generation > existing.generation) {
      // What is known of the attempt in hand is of the life that ended.
      const again = inFlight(existing.state)
        ? { attempt: existing.attempt + 1, redelivery: existing.redelivery + 1 }
        : {};
      const next = inFlight(existing.state) ? { state: "received" as const } : existing.state;
      move(state, effects, now, existing, next, { ...again, generation, failures: 0 });
    }
    if (state.claiming.has(key)) state.claiming.set(key, "offered again");
    return;
  }
  // Missing from the relay's list because it was opened again just then: its earlier life counts.
  const gone = state.gone.get(key);
  const dead = state.dead.get(key) ?? (gone !== undefined && generation > gone.generation ? gone : undefined);
  if (dead !== undefined && generation <= dead.generation) {
    // The relay did not hear that it died.
    state.untold.add(key);
    report(state, effects, now, dead, "dead", reasonOf(dead), dead.updatedAt);
    return;
  }
  if (dead === undefined && gone !== undefined && takenForDropped(gone)) {
    // Nobody dropped it: the relay never heard that it died, and left it out of both lists while another agent held it.
    state.gone.delete(key);
    const reason = reasonOf(gone);
    report(state, effects, now, move(state, effects, now, gone, { state: "dead", reason }), "dead", reason);
    return;
  }
  if (dead === undefined && state.known.has(key)) {
    // The relay did not hear our markRead: the shell repeats it when the journal says that it was due.
    // A page that was asked of an earlier store may come late, and its numbers mean others here.
    if (message.storeId === state.storeId) effects.push({ type: "reoffered", key, messageId: message.id });
    return;
  }
  if (!isForUs(message, state.config)) return;
  if (ends(state) || !mayTake(state)) return;
  if (state.rows.size >= state.config.maxQueue || (state.intake === "behind" && !paged)) {
    state.intake = "behind";
    state.leftFrom = Math.min(state.leftFrom, message.id);
    return;
  }
  accept(state, effects, now, message, dead);
}

/** A restart of the provider is no end: what comes meanwhile waits here, the relay pushes it once only. */
function ends({ phase }: State): boolean {
  return phase.phase === "ended" || (phase.phase !== "running" && phase.then === "exit");
}

function accept(state: State, effects: Effect[], now: Now, message: Message, dead?: JournalRow): void {
  const fresh = receivedRow(message, now.wall);
  const bytes = bodyBytes(message);
  const shed = message.storeId !== LOCAL_STORE && state.bodyBytes + bytes > state.config.maxBodyBytes;
  const before = dead === undefined ? state.skipped.get(fresh.key) : undefined;
  const row: JournalRow = {
    ...fresh,
    handed: before?.handed ?? false,
    // The model may have seen something of the earlier life: its attempts are over and the frame says so.
    attempt: dead === undefined ? before?.attempt ?? 1 : dead.attempt + 1,
    redelivery: dead === undefined ? before?.redelivery ?? 0 : dead.redelivery + 1,
    ...(shed ? { shed, message: { ...fresh.message!, body: "" } } : {}),
  };
  state.dead.delete(row.key);
  state.gone.delete(row.key);
  state.untold.delete(row.key);
  // A letter that was opened again has not ended: when another agent takes it and dies, it is offered once more.
  state.known.delete(row.key);
  // Through `move`, from nothing to received.
  move(state, effects, now, { ...row, state: { state: "skipped", reason: "" } }, { state: "received" });
  if (!shed) state.bodyBytes += bytes;
  report(state, effects, now, row, "received", shed ? "journaled without its text" : "journaled");
}

/** Asks for what is unread above `sinceId`. */
export function resync(state: State, effects: Effect[], sinceId: number): void {
  state.resync = "running";
  state.leftFrom = Infinity;
  effects.push({ type: "resync", sinceId });
}

/** The pages of unread mail are through, or stopped at `through`. */
export function resynced(state: State, now: Now, event: Extract<Event, { type: "resynced" }>): void {
  const { end, through, retryAfterMs = 0 } = event;
  state.resync = "idle";
  if (end === "failed") {
    const waitMs = RESYNC_RETRY_MS * (0.5 + now.random / 2);
    state.resyncNotBefore = now.mono + Math.max(waitMs, retryAfterMs);
  }
  // As long as nothing was left at the relay, pushes bring what the pages did not.
  if (state.intake === "open") return;
  if (end !== "reached") state.leftFrom = Math.min(state.leftFrom, through + 1);
  else if (state.leftFrom === Infinity) state.intake = "open";
}

/** The text of a message that waited without it. */
export function fetched(
  state: State,
  effects: Effect[],
  now: Now,
  key: string,
  message: Message | null,
): void {
  state.fetches.delete(key);
  state.tries.delete(`fetch ${key}`);
  const row = state.rows.get(key);
  if (!row?.shed) return;
  if (message !== null) {
    state.bodyBytes += bodyBytes(message);
    state.rows.set(key, { ...row, shed: false, message: { ...row.message!, body: message.body } });
    return;
  }
  if (row.storeId === LOCAL_STORE) return bury(state, effects, now, row, "its text is lost");
  const reason = "the relay no longer has it";
  report(
    state,
    effects,
    now,
    move(state, effects, now, row, { state: "skipped", reason }),
    "skipped",
    reason,
  );
}

/** The relay could not be asked for a text: tried again with back-off. */
export function fetchFailed(state: State, now: Now, key: string, retryAfterMs = 0): void {
  backOff(state, "fetch", key, now, retryAfterMs);
}

/** A person dropped a dead letter: it is forgotten here as well. */
export function dropped(state: State, effects: Effect[], now: Now, key: string, generation: number): void {
  const row = state.dead.get(key);
  if (row === undefined || row.generation > generation) return;
  move(state, effects, now, row, { state: "dropped", reason: "dropped by a person" });
}

/**
 * What the relay says our dead letters are. One that is missing there was dropped or is being offered again, unless
 * the relay has not heard of it yet.
 */
export function deadListed(
  state: State,
  effects: Effect[],
  now: Now,
  storeId: string,
  letters: { messageId: number; generation: number }[],
  through: number,
): void {
  const there = new Map(letters.map((letter) => [letter.messageId, letter.generation]));
  for (const row of [...state.dead.values()]) {
    if (row.storeId !== storeId || row.messageId > through) continue;
    if (there.has(row.messageId) || state.untold.has(row.key)) continue;
    move(state, effects, now, row, { state: "dropped", reason: reasonOf(row), by: "absence" });
  }
  state.untold.clear();
}

function takenForDropped({ state }: JournalRow): boolean {
  return state.state === "dropped" && state.by === "absence";
}

/** Gives the texts of waiting messages back to the relay, which has them, when memory is short. */
export function shedBodies(state: State): void {
  let kept = 0;
  for (const row of state.rows.values()) {
    if (row.state.state !== "received" || row.shed || row.message === null || row.storeId === LOCAL_STORE) {
      continue;
    }
    const bytes = bodyBytes(row.message);
    kept += bytes;
    if (kept <= SCARCE_BYTES) continue;
    state.bodyBytes -= bytes;
    state.rows.set(row.key, { ...row, shed: true, message: { ...row.message, body: "" } });
  }
}

/**
 * Tells the relay once more how far the messages of an earlier run had come: reports wait in memory only, and the
 * relay drops what it knows already.
 */
export function tellRecovered(state: State, effects: Effect[], now: Now): void {
  for (const key of state.recovered.splice(0)) {
    const row = state.rows.get(key);
    if (row === undefined || finished(row)) continue;
    report(state, effects, now, row, "received", "journaled", row.receivedAt);
    const { state: stage } = row.state;
    if (stage === "received" || stage === "claimed" || stage === "delivering") continue;
    if (stage === "done" || stage === "failed") {
      // The row keeps its last proof only, and an end there is a proof of what comes before it.
      report(state, effects, now, row, "seen", reasonOf(row), row.updatedAt);
    }
    report(state, effects, now, row, stage as Stage | SideStage, reasonOf(row), row.updatedAt);
  }
}

function reasonOf(row: JournalRow): string {
  if ("evidence" in row.state) return row.state.evidence;
  return "reason" in row.state ? row.state.reason : "";
}
