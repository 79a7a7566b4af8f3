import type { JournalRow, MessageState } from "../../lib/inbox/contract.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import type { AgentCard, Message } from "../../lib/protocol/message.ts";

/** When messages of tests are sent and received, epoch milliseconds. */
export const NOW = 1_800_000_000_000;

/** A message from `a` to `b`, of the store `s`. */
export function testMessage(id: number, more: Partial<Message> = {}): Message {
  return {
    id,
    storeId: "s",
    from: "a",
    to: "b",
    kind: "chat",
    body: `body ${id}`,
    claimable: false,
    createdAt: NOW,
    ...more,
  };
}

/** The row of a journal with such a message. */
export function testRow(
  id: number,
  state: MessageState = { state: "received" },
  { message = testMessage(id), ...more }: Partial<Omit<JournalRow, "message">> & { message?: Message } = {},
): JournalRow {
  return { ...receivedRow(message, NOW), state, ...more };
}

/** An agent as a relay lists it. */
export function testCard(id: string, more: Partial<AgentCard> = {}): AgentCard {
  return {
    id,
    componentId: `run-${id}`,
    kind: "provider",
    machine: "m",
    tags: [],
    capabilities: [],
    status: "idle",
    ready: true,
    epoch: 1,
    lastSeen: 0,
    createdAt: 0,
    ...more,
  };
}
