import { utf8Length } from "../base/bytes.ts";
import { DEPTH_LIMIT, FRAME_LIMIT, problemOf } from "../protocol/codec.ts";
import type { Message } from "../protocol/message.ts";

/** What is around a message, in a page or in a text with other frames. */
const ROOM = 128 * 1024;
const AROUND = 3;

/** A message as one recipient would get it, which no client can read. */
export interface Unreadable {
  messageId: number;
  agentId: string;
  generation: number;
  reason: string;
}

/**
 * How many bytes a message takes as it is sent, or why no client can read it. What senders say is bounded, but an
 * earlier version took more, and recipients are added to it.
 */
export function weigh(message: Message): { bytes: number } | { reason: string } {
  const bytes = utf8Length(JSON.stringify(message));
  const limit = FRAME_LIMIT - ROOM;
  if (bytes > limit) return { reason: `larger than ${limit} bytes` };
  const plain = message.payload === undefined && message.meta === undefined;
  const reason = plain ? null : problemOf(message, DEPTH_LIMIT - AROUND);
  return reason === null ? { bytes } : { reason };
}
