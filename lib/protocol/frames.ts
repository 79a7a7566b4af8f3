import type {
  AgentStatus,
  BusRole,
  Command,
  CommandStatus,
  Message,
  SendInput,
  StageReport,
} from "./message.ts";

/**
 * Frames of the `/bus` WebSocket: one JSON object `{type, id?, payload}` per text, or an array of them to a peer that
 * said `batch` when it registered or was registered.
 *
 * A client frame that carries an `id` is answered with `ack` (`ok:true`, plus whatever its row below says) or
 * with `error`; a frame without an id is never answered. `register` must be the first frame of a connection.
 *
 * Client to server, with the members its `ack` payload adds:
 * | type | ack adds |
 * | --- | --- |
 * | register | {@linkcode Registered} (also pushed as a `registered` frame, which clients may ignore) |
 * | heartbeat | `serverTime` |
 * | status, subscribe, ack, command.update | nothing |
 * | resume | `cursor` (events after `since` for this component follow as `event` frames) |
 * | message.send | `message`, `duplicate`, `recipients` |
 * | message.claim / message.renew | a ClaimGrant; error code `E_CONFLICT` when another agent holds it |
 * | message.release | nothing |
 * | message.read | `read: number[]` |
 * | receipt.report | nothing |
 */
export type ClientFrame =
  | { type: "register"; id: string; payload: RegisterPayload }
  | { type: "heartbeat"; id?: string; payload: { status: AgentStatus; meta?: Record<string, unknown> } }
  | { type: "status"; id?: string; payload: StatusPayload }
  | { type: "subscribe"; id: string; payload: { events: string[]; scopes?: string[] } }
  | { type: "ack"; id?: string; payload: { frameId: string } }
  | { type: "resume"; id: string; payload: { since: number } }
  | {
    type: "command";
    id: string;
    payload: { commandType: string; target: string; params: Record<string, unknown> };
  }
  | { type: "command.update"; id?: string; payload: CommandUpdatePayload }
  | { type: "message.send"; id: string; payload: SendInput }
  | { type: "message.claim"; id: string; payload: ClaimPayload }
  | { type: "message.renew"; id: string; payload: ClaimPayload }
  | { type: "message.release"; id: string; payload: ClaimPayload }
  | { type: "message.read"; id: string; payload: { messageIds: number[]; agentId: string } }
  | { type: "receipt.report"; id?: string; payload: { reports: StageReport[] } };

/** Payload of `register`. `label` travels in `meta.label`; there is no top-level label, name or ready. */
export interface RegisterPayload {
  role: BusRole;
  componentId: string;
  agentId?: string;
  instanceId: string;
  capabilities: string[];
  tags: string[];
  machine: string;
  meta: Record<string, unknown>;
  /** The client takes several frames in one text. */
  batch?: boolean;
}

/** Payload of `status`. */
export interface StatusPayload {
  agentStatus: AgentStatus;
  ready?: boolean;
  meta?: Record<string, unknown>;
}

/** `result` of a command that was refused, for programs. */
export type CommandRefusal =
  /** It came too early: the same one may be sent again, under a new id, after that time. */
  | { code: "E_RATE"; retryAfterMs: number }
  /** The agent is stopping already. */
  | { code: "E_STOPPING" };

/** Payload of `command.update`. */
export interface CommandUpdatePayload {
  commandId: string;
  status: CommandStatus;
  result?: unknown;
  error?: string;
}

/** Payload of the claim frames. */
export interface ClaimPayload {
  messageId: number;
  agentId: string;
  instanceId?: string;
  epoch?: number;
}

/** What a registration answers. */
export interface Registered {
  agentId: string;
  componentId: string;
  instanceId: string;
  epoch: number;
  /** Latest event sequence number of this store: the resume cursor. */
  cursor: number;
  heartbeatIntervalMs: number;
  serverTime: number;
  storeId: string;
  /** The relay takes several frames in one text. */
  batch?: boolean;
  /** Bound to this agent id; the runner uses it for HTTP calls that speak as the agent. */
  agentToken?: string;
}

/** Frames from the server. Each push is sent in one form only and is repeated until the client acks it. */
export type ServerFrame =
  | { type: "ack"; id: string; payload: { frameId: string; ok: true; [more: string]: unknown } }
  | { type: "error"; id?: string; payload: { frameId?: string; code: string; message: string } }
  | { type: "registered"; id: string; payload: Registered }
  | { type: "event"; id: string; payload: EventPayload }
  | { type: "command"; id: string; payload: CommandPayload };

/**
 * Payload of a pushed event. For `message.new`, `data` is the Message and the frame's `id` is `evt-<seq>`. For
 * `message.dropped` (a person dropped a dead letter of this agent), `data` is `{storeId, messageId, generation}`.
 */
export interface EventPayload {
  seq: number;
  event: string;
  data: unknown;
  message?: Message;
}

/** Payload of a pushed command; the frame's id is the command's id. */
export interface CommandPayload {
  commandType: string;
  target: string;
  params: Record<string, unknown>;
  commandId: string;
  command: Command;
}

/** WebSocket close codes of the bus. */
export const BUS_CLOSE = {
  badToken: 4401,
  badFirstFrame: 4400,
  replaced: 4409,
  goingAway: 1001,
  tooSlow: 1013,
} as const;
