import type { JournalRow } from "../../inbox/contract.ts";
import { LOCAL_STORE } from "../../inbox/core/row.ts";
import { mayDeliver } from "./goal.ts";
import type { State } from "./types.ts";

/** A message that waits for its turn. Work is claimed before it is delivered, mail is not. */
export interface Waiting {
  order: number;
  key: string;
}

/** The person's own prompt comes first, then messages by their id, so that a retried one keeps its place. */
function orderOf(row: JournalRow): number {
  return row.storeId === LOCAL_STORE ? 0 : row.messageId;
}

/**
 * Puts a row in state `received` in line. Cheap at the end, where new messages go; an entry that does not fit its
 * row any more is passed over by {@linkcode first}, so nobody has to take one out of the middle.
 */
export function enqueue(state: State, row: JournalRow): void {
  const line = row.message?.claimable ? state.work : state.mail;
  const entry = { order: orderOf(row), key: row.key };
  let at = line.length;
  if (at > 0 && line[at - 1]!.order > entry.order) {
    let low = 0;
    while (low < at) {
      const middle = (low + at) >> 1;
      if (line[middle]!.order > entry.order) at = middle;
      else low = middle + 1;
    }
  }
  if (line[at - 1]?.key === entry.key) return;
  line.splice(at, 0, entry);
}

/** The first row of a line that waits and that this run works on, or undefined. */
export function first(state: State, line: Waiting[]): JournalRow | undefined {
  while (line.length > 0 && !waits(state, line[0]!)) line.shift();
  for (const entry of line) {
    const row = waits(state, entry);
    if (row !== undefined && mayDeliver(state, row)) return row;
    // Only a run with one piece of work passes messages over, and it takes few.
    if (state.config.goal.once === null && row !== undefined) return undefined;
  }
  return undefined;
}

/**
 * Of the rows of a line that wait, the one that has failed least: a trial asks whether the provider is mended, and a
 * message that fails by itself cannot tell.
 */
export function leastFailed(state: State, line: readonly Waiting[]): JournalRow | undefined {
  let least: JournalRow | undefined;
  for (const entry of line) {
    const row = waits(state, entry);
    if (row === undefined || !mayDeliver(state, row)) continue;
    if (row.failures === 0) return row;
    if (least === undefined || row.failures < least.failures) least = row;
  }
  return least;
}

/** The row of an entry, undefined when it waits no more. */
function waits(state: State, { key }: Waiting): JournalRow | undefined {
  const row = state.rows.get(key);
  return row?.state.state === "received" ? row : undefined;
}
