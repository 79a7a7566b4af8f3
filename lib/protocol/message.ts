/**
 * Domain-free wire types of the relay, modelled on the Agent Relay protocol (what is publicly known of it; the
 * rest is our own choice and lives only in this folder). camelCase JSON, times are epoch milliseconds.
 */

/** Roles a component may register with. A runner is a `provider`. */
export const BUS_ROLES = ["provider", "channel", "orchestrator", "integration"] as const;
export type BusRole = (typeof BUS_ROLES)[number];

/** Status an agent may report. `error` is ours to send; servers of the protocol accept it. */
export const AGENT_STATUSES = ["online", "idle", "busy", "stale", "offline", "error"] as const;
export type AgentStatus = (typeof AGENT_STATUSES)[number];

/** When a sender wants the message to reach the model. Providers map it to what they can really do. */
export type DeliveryTiming = "now" | "next" | "idle";

/** A message as the relay stores it and hands it out. */
export interface Message {
  id: number;
  /** UUID of the relay's database. (storeId, id) identifies a message for ever. */
  storeId: string;
  from: string;
  /** The target as it was written: an agent id, `broadcast`, `label:`, `tag:` or `cap:` plus a value. */
  to: string;
  /** `chat` unless the sender said otherwise. */
  kind: string;
  channel?: string;
  subject?: string;
  body: string;
  threadId?: number;
  replyTo?: number;
  /** True for work that exactly one agent may do; such a message needs a claim before delivery. */
  claimable: boolean;
  claimedBy?: string;
  claimedAt?: number;
  claimExpiresAt?: number;
  /** The sender waits for an answer in the thread. */
  replyExpected?: boolean;
  when?: DeliveryTiming;
  payload?: Record<string, unknown>;
  meta?: Record<string, unknown>;
  /** Agents that marked it read. */
  readBy?: string[];
  /** Agent ids fixed when the message was sent. */
  recipients?: string[];
  /**
   * How often a person re-opened this recipient's dead letter; absent is 0. Set by the relay, per recipient: a
   * number above the one an agent knows means "take it again, as a new delivery".
   */
  generation?: number;
  createdAt: number;
  /** Undelivered mail is dropped (and marked expired) after this time. */
  expiresAt?: number;
  idempotencyKey?: string;
}

/** Body of `POST /api/messages` and payload of the bus frame `message.send`. */
export interface SendInput {
  from: string;
  to: string;
  body: string;
  subject?: string;
  kind?: string;
  channel?: string;
  claimable?: boolean;
  replyTo?: number;
  replyExpected?: boolean;
  when?: DeliveryTiming;
  payload?: Record<string, unknown>;
  meta?: Record<string, unknown>;
  /** Sending twice with one key (per `from`) stores one message and answers with the first. */
  idempotencyKey?: string;
  /** Keep the message for a recipient that is not there yet (default: no recipient is 422). */
  queue?: boolean;
  /** How long undelivered mail is kept. Default 7 days for direct mail. */
  ttlMs?: number;
}

/** Answer of a send. */
export interface SendResult {
  message: Message;
  /** True when the idempotency key was known and `message` is the earlier one. */
  duplicate: boolean;
  recipients: string[];
}

/** An agent as `GET /api/agents` shows it. */
export interface AgentCard {
  id: string;
  componentId: string;
  kind: BusRole;
  name?: string;
  label?: string;
  machine: string;
  tags: string[];
  capabilities: string[];
  status: AgentStatus;
  ready: boolean;
  instanceId?: string;
  /** Rises with every registration of another instance; fences writes of the earlier one. */
  epoch: number;
  meta?: Record<string, unknown>;
  lastSeen: number;
  createdAt: number;
}

/** The public stages of a delivery, in order. See docs/delivery.md for the exact meaning of each word. */
export const STAGES = ["received", "claimed", "handed", "placed", "seen", "done", "acked"] as const;
export type Stage = (typeof STAGES)[number];

/**
 * Outcomes that are not stages of the straight way. `reopened` and `dropped` are what a person did with a dead
 * letter; only the relay writes them.
 */
export type SideStage =
  | "skipped"
  | "retry"
  | "held"
  | "dead"
  | "failed"
  | "expired"
  | "reopened"
  | "dropped";

/** One line of a receipt: what happened to a message at one agent, when, and what proves it. */
export interface StageReport {
  messageId: number;
  agentId: string;
  stage: Stage | SideStage;
  at: number;
  deliveryId?: string;
  attempt?: number;
  /** Generation of the message it is about; absent is 0. A report of an earlier one changes nothing. */
  generation?: number;
  /** What proves it, in words, for example `item.clientId of userMessage item_3`. */
  evidence?: string;
}

/** Answer of `GET /api/messages/:id/receipt`. */
export interface Receipt {
  message: Message;
  /** Rises with every new report or reply; pass it as `after` to wait for the next one. */
  version: number;
  /** `dead`: the agent gave it up and it waits for a person. */
  recipients: { agentId: string; read: boolean; dead?: boolean; reports: StageReport[] }[];
  replies: Message[];
}

/** A message that an agent gave up on and that waits for a person. */
export interface DeadLetter {
  messageId: number;
  agentId: string;
  /** Generation that died; a retry of this one opens the next. */
  generation: number;
  /** When the relay heard of it, epoch milliseconds. */
  at: number;
  reason: string;
  from: string;
  to: string;
  subject?: string;
  /** The first 200 characters. */
  excerpt: string;
}

/** States of a command, in order; the last four are terminal. */
export type CommandStatus =
  | "pending"
  | "accepted"
  | "running"
  | "succeeded"
  | "failed"
  | "canceled"
  | "expired";

/** A lifecycle command as the relay stores it. */
export interface Command {
  id: string;
  type: string;
  target: string;
  source?: string;
  params: Record<string, unknown>;
  status: CommandStatus;
  result?: unknown;
  error?: string;
  correlationId?: string;
  createdAt: number;
  updatedAt: number;
  expiresAt?: number;
}

/** Answer of a claim or a renewal. */
export interface ClaimGrant {
  ok: true;
  messageId: number;
  claimedBy: string;
  /** Length of the lease, counted by the client from the moment it sent the request. */
  leaseMs: number;
  claimExpiresAt: number;
}

/** Answer of `GET /api/health`. */
export interface RelayHealth {
  ok: true;
  service: "agent-relay";
  storeId: string;
  version: string;
  /** True when a runner serves the relay in-process; such a relay yields to `runner relay`. */
  embedded: boolean;
  serverTime: number;
}
