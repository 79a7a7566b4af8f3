import { IDENTIFIER } from "./ids.ts";

/** Header of a hook that says which start of the agent it belongs to. */
export const INCARNATION_HEADER = "x-agent-relay-incarnation";

/** True for the URL of a control server: only the loopback, whatever else a file names is not ours. */
export function isControlUrl(url: unknown): url is string {
  return typeof url === "string" && /^http:\/\/127\.0\.0\.1:\d{1,5}$/.test(url);
}

/** Longest frame on the monitor's socket, either way; a longer one ends it with 1009. */
export const MONITOR_FRAME_BYTES = 64 * 1024;
/** Close code for a monitor that another one took the place of. */
export const MONITOR_REPLACED = 4001;
/** Longest line of a notice: Claude Code cuts a monitor's lines at 500 characters. */
export const NOTICE_CHARS = 480;

/** Runner to monitor: print these lines. */
export interface DeliverFrame {
  type: "message.deliver";
  deliveryId: string;
  messages: { id: string; line: string }[];
}

/** Monitor to runner: these lines are printed. */
export interface DeliveredFrame {
  type: "message.delivered";
  deliveryId: string;
  messageIds: string[];
}

/** Reads what a runner sent, or null when it is nothing to print. Lines that could be two, or more than text, are refused. */
export function readDeliver(text: string): DeliverFrame | null {
  const frame = parse(text);
  if (frame?.type !== "message.deliver" || !isId(frame.deliveryId)) return null;
  const { deliveryId, messages } = frame;
  if (!Array.isArray(messages) || messages.length === 0) return null;
  const read: { id: string; line: string }[] = [];
  for (const message of messages as unknown[]) {
    const { id, line } = (message ?? {}) as { id?: unknown; line?: unknown };
    if (!isId(id) || typeof line !== "string" || !isNoticeLine(line)) return null;
    read.push({ id, line });
  }
  return { type: "message.deliver", deliveryId, messages: read };
}

/** Reads a monitor's confirmation, or null when it is none. */
export function readDelivered(text: string): DeliveredFrame | null {
  const frame = parse(text);
  if (frame?.type !== "message.delivered" || !isId(frame.deliveryId)) return null;
  const { deliveryId, messageIds } = frame;
  if (!Array.isArray(messageIds) || messageIds.length === 0 || !messageIds.every(isId)) return null;
  return { type: "message.delivered", deliveryId, messageIds };
}

/** True for one line of printable ASCII that no reader cuts. */
export function isNoticeLine(line: string): boolean {
  return line.length <= NOTICE_CHARS && /^[!-~](?:[ -~]*[!-~])?$/.test(line);
}

function isId(value: unknown): value is string {
  return typeof value === "string" && IDENTIFIER.test(value);
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : null;
  } catch {
    return null;
  }
}
