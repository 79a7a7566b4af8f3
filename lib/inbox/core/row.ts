import { utf8Length } from "../../base/bytes.ts";
import type { Message } from "../../protocol/message.ts";
import type { JournalRow, MessageState } from "../contract.ts";

/** The store id of messages that never were at a relay: the person's `--prompt`. They are not acked or reported. */
export const LOCAL_STORE = "local";

/** Returns the journal key of a message. */
export function keyOf(storeId: string, messageId: number): string {
  return `${storeId}/${messageId}`;
}

/** Returns the part of a message that its delivery needs; what only senders and readers use stays at the relay. */
export function envelopeOf(message: Message): Message {
  const { payload: _payload, meta: _meta, readBy: _readBy, recipients: _recipients, ...envelope } = message;
  return envelope;
}

/** Returns how much memory a message's text may take, in bytes. */
export function bodyBytes(message: Message): number {
  return utf8Length(message.body);
}

/** Returns the row of a message that has just arrived. `wall` is epoch milliseconds. */
export function receivedRow(message: Message, wall: number): JournalRow {
  return {
    key: keyOf(message.storeId, message.id),
    storeId: message.storeId,
    messageId: message.id,
    attempt: 1,
    generation: message.generation ?? 0,
    redelivery: 0,
    failures: 0,
    state: { state: "received" },
    acked: false,
    reply: null,
    message: envelopeOf(message),
    shed: false,
    receivedAt: wall,
    updatedAt: wall,
  };
}

/** True when a message with this state is with the provider and occupies a place of the in-flight window. */
export function inFlight(
  state: MessageState,
): state is Extract<MessageState, { state: "delivering" | "placed" | "seen" }> {
  return state.state === "delivering" || state.state === "placed" || state.state === "seen";
}

/** True when the evidence at hand allows markRead: `seen` for direct mail, `done` for claimable work. */
export function mayAck(row: JournalRow): boolean {
  if (row.storeId === LOCAL_STORE) return false;
  switch (row.state.state) {
    case "done":
      return true;
    case "seen":
    case "failed":
      return row.message !== null && !row.message.claimable;
    default:
      return false;
  }
}

/**
 * True when nothing is left to do for the row: it may leave the memory and is kept in the journal for dedup
 * (or, when dead, for a person).
 */
export function finished(row: JournalRow): boolean {
  switch (row.state.state) {
    case "skipped":
    case "dead":
    case "dropped":
      return true;
    case "done":
    case "failed":
      return (row.acked || row.storeId === LOCAL_STORE || !mayAck(row)) && row.reply === null;
    default:
      return false;
  }
}

/**
 * True when the journal keeps the row's text: while it may be delivered, and for a dead letter, for a person who looks
 * into the file when the relay is gone for good.
 */
export function keepsText(row: JournalRow): boolean {
  return !finished(row) || row.state.state === "dead";
}

/**
 * True when the row's key is remembered as known: the message has ended here for good. One that another agent took
 * comes again when that agent fails.
 */
export function remembered(row: JournalRow): boolean {
  return finished(row) && row.state.state !== "skipped";
}
