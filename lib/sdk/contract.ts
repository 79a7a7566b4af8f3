import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type {
  CommandPayload,
  CommandUpdatePayload,
  Registered,
  RegisterPayload,
  StatusPayload,
} from "../protocol/frames.ts";
import type {
  AgentCard,
  ClaimGrant,
  Command,
  DeadLetter,
  Message,
  Receipt,
  RelayHealth,
  SendInput,
  SendResult,
  StageReport,
} from "../protocol/message.ts";

/**
 * Why a call to the relay did not succeed. `unknown` means the request may have had its effect (no reply, a
 * cut body, a reply that is not JSON): never take it for success, try again. `silent`: somebody took the connection and
 * said nothing in time. `oversize`: the answer is larger than is read; of a page, the id of its first message when that
 * is known.
 */
export type CallFailure =
  | { ok: false; kind: "auth"; status: number; message: string }
  /** `foreign`: the answer is not that of a relay; something else has the address, or stands before it. */
  | {
    ok: false;
    kind: "rejected";
    status: number;
    code: string;
    message: string;
    candidates?: string[];
    foreign?: true;
  }
  | { ok: false; kind: "unavailable"; message: string; retryAfterMs?: number; foreign?: true }
  | {
    ok: false;
    kind: "unknown";
    message: string;
    silent?: true;
    oversize?: { firstId: number | null };
  };

/** A call's outcome as a value; only a bug throws. */
export type CallResult<T> = { ok: true; value: T } | CallFailure;

/** Outcome of a claim or renewal. `lost`: another agent holds it (409) or the message is gone (404, 410). */
export type ClaimResult =
  | { ok: true; value: ClaimGrant }
  | { ok: false; kind: "lost" }
  | CallFailure;

/**
 * The REST side of the relay. Every call has a deadline (10 s; 3 s for health, 30 s for a page of messages, with `waitMs`
 * so much more), a body cap and `redirect:"error"`.
 */
export interface RelayHttp {
  health(signal?: AbortSignal): Promise<CallResult<RelayHealth>>;
  send(input: SendInput, signal?: AbortSignal): Promise<CallResult<SendResult>>;
  getMessage(id: number, signal?: AbortSignal): Promise<CallResult<Message>>;
  /** Unread messages of an agent in id order, at most `limit` (default 200). */
  listUnread(agentId: string, options?: { sinceId?: number; limit?: number }): Promise<CallResult<Message[]>>;
  thread(id: number): Promise<CallResult<Message[]>>;
  /** With `after`, waits up to `waitMs` (at most 30,000) for a version above it. */
  receipt(
    id: number,
    options?: { after?: number; waitMs?: number; signal?: AbortSignal },
  ): Promise<CallResult<Receipt>>;
  claimMessage(id: number, by: { agentId: string; instanceId?: string }): Promise<ClaimResult>;
  renewClaim(id: number, by: { agentId: string; instanceId?: string }): Promise<ClaimResult>;
  releaseClaim(id: number, by: { agentId: string; instanceId?: string }): Promise<CallResult<null>>;
  /** 404 and 410 count as read: the relay has nothing left to deliver. */
  markRead(id: number, agentId: string): Promise<CallResult<null>>;
  reportStages(reports: StageReport[]): Promise<CallResult<null>>;
  listAgents(
    filter?: { tag?: string; cap?: string; label?: string; status?: string },
    signal?: AbortSignal,
  ): Promise<CallResult<AgentCard[]>>;
  getAgent(id: string): Promise<CallResult<AgentCard>>;
  deleteAgent(id: string): Promise<CallResult<null>>;
  /** Dead letters of one agent or of all, by message id, at most `limit` (default 1,000). */
  listDead(
    filter?: { agentId?: string; limit?: number },
  ): Promise<CallResult<{ storeId: string; letters: DeadLetter[] }>>;
  /**
   * Opens a dead letter again (the operator's token): its agent gets it as a new delivery, at once or when it comes.
   * Repeating the call for the same generation changes nothing.
   */
  retryDead(letter: { messageId: number; agentId: string; generation: number }): Promise<CallResult<null>>;
  /** Ends a dead letter for good (the operator's token); whoever waits on the receipt sees it. Repeatable. */
  dropDead(letter: { messageId: number; agentId: string; generation: number }): Promise<CallResult<null>>;
  createCommand(
    input: { type: string; target: string; params?: Record<string, unknown>; ttlMs?: number },
  ): Promise<CallResult<Command>>;
  /** With `waitMs` (at most 30,000) it answers when the command has ended, or when the time is up. */
  getCommand(id: string, waitMs?: number): Promise<CallResult<Command>>;
}

/** State of the bus link as a union; `closed` is final. */
export type TransportState =
  | { state: "idle" }
  | { state: "connecting"; attempt: number }
  | { state: "registered"; registered: Registered }
  | { state: "waiting"; attempt: number; delayMs: number; reason: CloseReason }
  | { state: "closed"; reason: CloseReason };

/** Why a link ended, as a value. */
export type CloseReason =
  | { kind: "local" }
  | { kind: "auth"; message: string }
  | { kind: "replaced" }
  | { kind: "network"; message: string }
  | { kind: "dead-peer"; message: string }
  | { kind: "protocol"; message: string };

/** What the bus client tells its owner. Handlers must not throw; a throw is caught and logged. */
export interface BusEvents {
  state(state: TransportState): void;
  /** Pushed message. The client acks the frame after this returned, unless pushes are held. */
  message(message: Message): void;
  command(command: CommandPayload): void;
  /** A person dropped a dead letter of this agent. */
  dropped(letter: { storeId: string; messageId: number; generation: number }): void;
  /** The machine has slept, or its wall clock was set ahead: what is due by it may be due now. */
  woke(): void;
}

/** The bus side of the relay: one socket that reconnects by itself, for ever, until `close`. */
export interface RelayBus {
  readonly transportState: TransportState;
  /** Starts connecting; returns at once. Idempotent. */
  connect(): void;
  /** Queues the newest status and sends it on this and every later connection. */
  setStatus(status: StatusPayload): void;
  /** Sends a status now; resolves true when the relay acked it within the deadline (default 2 s). */
  statusAsync(status: StatusPayload, timeoutMs?: number): Promise<boolean>;
  claim(messageId: number): Promise<ClaimResult>;
  renew(messageId: number): Promise<ClaimResult>;
  release(messageId: number): Promise<CallResult<null>>;
  /** Marks messages read; one frame for many. */
  markRead(messageIds: number[]): Promise<CallResult<null>>;
  reportStages(reports: StageReport[]): Promise<CallResult<null>>;
  send(input: SendInput): Promise<CallResult<SendResult>>;
  updateCommand(update: CommandUpdatePayload): Promise<CallResult<null>>;
  /**
   * Holds the acks of pushed messages back until it is called with false: the relay pushes no more than its window
   * meanwhile, and keeps the rest. What it pushed is handed on all the same. Idempotent; holds over a new connection.
   */
  holdPushes(hold: boolean): void;
  /** Drops the link, if there is one (wake from sleep, the relay moved); a new one follows after the usual delay. */
  reconnect(reason: string): void;
  /** Closes the socket within 1 s, settles every pending call. Idempotent. */
  close(): Promise<void>;
}

/** How to build a {@linkcode RelayBus}. */
export interface BusClientOptions {
  /** Base URL of the relay, http(s) or ws(s). */
  url: string;
  token: string | null;
  registration: RegisterPayload;
  events: Partial<BusEvents>;
  clock: Clock;
  /** In [0, 1). */
  random(): number;
  log: Log;
  /** Default 15,000. */
  heartbeatIntervalMs?: number;
}
