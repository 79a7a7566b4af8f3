import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { decodeServerFrames, isMessageId, isRecord, validateMessage } from "../protocol/codec.ts";
import type {
  CommandPayload,
  CommandUpdatePayload,
  EventPayload,
  Registered,
  RegisterPayload,
  ServerFrame,
  StatusPayload,
} from "../protocol/frames.ts";
import type { SendInput, SendResult, StageReport } from "../protocol/message.ts";
import { FrameBatch } from "../transport/frame_batch.ts";
import type { Link } from "../transport/link.ts";
import { Redialer } from "../transport/redial.ts";
import type {
  BusClientOptions,
  CallResult,
  ClaimResult,
  CloseReason,
  RelayBus,
  TransportState,
} from "./contract.ts";
import { BadFrames } from "./bad_frames.ts";
import { type Answer, outcome, readGrant, readRegistered, reasonOf } from "./bus_answers.ts";
import { PushAcks } from "./push_acks.ts";
import { busUrl } from "./url.ts";
import { watchWake } from "./wake.ts";

const CALL_MS = 10_000;
const PENDING_LIMIT = 4_096;
const HEARTBEAT_MS = 15_000;
/** Between two statuses: one that lasts shorter, of a turn that took milliseconds, is not worth telling. */
const STATUS_MS = 20;
/** How long a relay may take to answer after the machine has slept. */
const WAKE_MS = 5_000;
/** Heartbeats without an answer before the link is abandoned. */
const MISSED_LIMIT = 2;

/** The bus side of the relay: one WebSocket that registers, resumes and reconnects by itself until `close`. */
export class RelayBusClient implements RelayBus {
  readonly #options: BusClientOptions;
  readonly #clock: Clock;
  readonly #redial: Redialer;
  readonly #registration: RegisterPayload;
  #state: TransportState = { state: "idle" };
  #link: Link | null = null;
  readonly #out = new FrameBatch({
    write: (text) => void this.#link?.send(text),
    // The ack of no push: nothing happens, and it is answered.
    probe: () => JSON.stringify({ type: "ack", id: this.#newId(), payload: { frameId: "" } }),
  });
  readonly #acks: PushAcks;
  #pending = new Map<string, (answer: Answer) => void>();
  #nextId = 0;
  #status: StatusPayload | null = null;
  #statusAt = -Infinity;
  #cancelStatus: (() => void) | null = null;
  #cursor: { storeId: string; seq: number } | null = null;
  #cancelHeartbeat: (() => void) | null = null;
  #stopWake: (() => void) | null = null;
  #missed = 0;
  readonly #bad: BadFrames;
  /** Why this side drops its link; null while it does not. */
  #leaving: CloseReason | null = null;
  #agentToken: string | null = null;

  constructor(options: BusClientOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#registration = options.registration;
    this.#bad = new BadFrames(options);
    this.#acks = new PushAcks({ out: this.#out, clock: options.clock, newId: () => this.#newId() });
    this.#redial = new Redialer({
      url: busUrl(options.url),
      headers: (): Record<string, string> =>
        options.token === null ? {} : { "x-agent-relay-token": options.token },
      clock: options.clock,
      random: options.random,
      events: {
        connecting: (attempt) => this.#setState({ state: "connecting", attempt }),
        open: (link) => this.#opened(link),
        text: (link, data) => this.#received(link, data),
        waiting: ({ end, auth, attempt, delayMs }) => {
          this.#unlink();
          const reason = auth
            ? { kind: "auth" as const, message: end.reason }
            : this.#leaving ?? reasonOf(end);
          this.#leaving = null;
          this.#setState({ state: "waiting", attempt, delayMs, reason });
        },
      },
    });
  }

  get transportState(): TransportState {
    return this.#state;
  }

  /** Token bound to this agent, once registered; null before and with an open relay. */
  get agentToken(): string | null {
    return this.#agentToken;
  }

  /** Frames of the relay that made no sense, so far. */
  get badFrames(): number {
    return this.#bad.total;
  }

  connect(): void {
    if (this.#state.state !== "closed") this.#stopWake ??= watchWake(this.#clock, () => this.#woke());
    this.#redial.start();
  }

  setStatus(status: StatusPayload): void {
    this.#status = status;
    if (this.#state.state !== "registered" || this.#cancelStatus !== null) return;
    const waitMs = this.#statusAt + STATUS_MS - this.#clock.mono();
    if (waitMs <= 0) this.#sendStatus();
    else this.#cancelStatus = this.#clock.setTimer(waitMs, () => this.#sendStatus());
  }

  /** Sends the newest status. */
  #sendStatus(): void {
    this.#cancelStatus?.();
    this.#cancelStatus = null;
    this.#statusAt = this.#clock.mono();
    if (this.#status !== null) this.#send({ type: "status", id: this.#newId(), payload: this.#status });
  }

  async statusAsync(status: StatusPayload, timeoutMs = 2_000): Promise<boolean> {
    this.#status = status;
    this.#cancelStatus?.();
    this.#cancelStatus = null;
    return (await this.#call("status", status, timeoutMs))?.ok === true;
  }

  claim(messageId: number): Promise<ClaimResult> {
    return this.#claimCall("message.claim", messageId);
  }

  renew(messageId: number): Promise<ClaimResult> {
    return this.#claimCall("message.renew", messageId);
  }

  async release(messageId: number): Promise<CallResult<null>> {
    return outcome(await this.#call("message.release", this.#claimant(messageId)), () => null);
  }

  async markRead(messageIds: number[]): Promise<CallResult<null>> {
    const agentId = this.#agentId();
    return outcome(await this.#call("message.read", { messageIds, agentId }), () => null);
  }

  async reportStages(reports: StageReport[]): Promise<CallResult<null>> {
    return outcome(await this.#call("receipt.report", { reports }), () => null);
  }

  async send(input: SendInput): Promise<CallResult<SendResult>> {
    return outcome(await this.#call("message.send", input), (payload) => payload as unknown as SendResult);
  }

  async updateCommand(update: CommandUpdatePayload): Promise<CallResult<null>> {
    return outcome(await this.#call("command.update", update), () => null);
  }

  holdPushes(hold: boolean): void {
    this.#acks.hold(hold);
  }

  reconnect(reason: string): void {
    this.#redial.drop(reason);
  }

  /**
   * Says a last status, drops the connection and dials no more until `connect`, which also brings the status of
   * `setStatus` back. Pending calls are settled.
   */
  async pause(goodbye: StatusPayload): Promise<void> {
    this.#cancelStatus?.();
    this.#cancelStatus = null;
    // Its answer is not waited for: the relay takes the frame before it sees the close, or the link is dead.
    this.#send({ type: "status", id: this.#newId(), payload: goodbye });
    this.#out.flush();
    this.#unwatch();
    await this.#redial.pause("suspended");
  }

  async close(): Promise<void> {
    this.#out.flush();
    this.#unlink();
    this.#unwatch();
    this.#setState({ state: "closed", reason: { kind: "local" } });
    await this.#redial.close();
  }

  async #claimCall(type: "message.claim" | "message.renew", messageId: number): Promise<ClaimResult> {
    const answer = await this.#call(type, this.#claimant(messageId));
    if (answer?.ok === false && (answer.code === "E_CONFLICT" || answer.code === "E_NOT_FOUND")) {
      return { ok: false, kind: "lost" };
    }
    return outcome(answer, readGrant);
  }

  #claimant(messageId: number) {
    return { messageId, agentId: this.#agentId(), instanceId: this.#registration.instanceId };
  }

  #agentId(): string {
    return this.#registration.agentId ?? this.#registration.componentId;
  }

  #opened(link: Link): void {
    this.#link = link;
    this.#missed = 0;
    void this.#call("register", { ...this.#registration, batch: true }).then((answer) => {
      if (this.#link !== link) return;
      if (answer === null) return this.#drop(link, "dead-peer", "no answer to the registration");
      if (!answer.ok) {
        if (answer.code === "E_UNAUTHORIZED" || answer.code === "E_FORBIDDEN") return this.#redial.rejected();
        return this.#drop(link, "protocol", answer.message);
      }
      const registered = readRegistered(answer.payload);
      if (registered === null) {
        return this.#drop(link, "protocol", "the registration's answer makes no sense");
      }
      this.#registered(registered);
    });
  }

  #registered(registered: Registered): void {
    this.#redial.settled();
    this.#agentToken = registered.agentToken ?? null;
    this.#out.taken = registered.batch === true;
    // A cursor counts only in the store it came from; a relay that began anew starts from nothing.
    if (this.#cursor?.storeId !== registered.storeId) this.#cursor = null;
    const since = this.#cursor?.seq;
    this.#cursor ??= { storeId: registered.storeId, seq: 0 };
    if (since !== undefined) this.#send({ type: "resume", id: this.#newId(), payload: { since } });
    this.#sendStatus();
    this.#setState({ state: "registered", registered });
    this.#armHeartbeat();
  }

  #armHeartbeat(): void {
    this.#cancelHeartbeat?.();
    const interval = this.#options.heartbeatIntervalMs ?? HEARTBEAT_MS;
    this.#cancelHeartbeat = this.#clock.setTimer(interval, () => {
      const link = this.#link;
      void this.#heartbeat(Math.min(CALL_MS, interval)).then((answered) => {
        if (this.#link !== link || link === null) return;
        if (answered) this.#missed = 0;
        else if (++this.#missed >= MISSED_LIMIT) this.#drop(link, "dead-peer", "no answer to heartbeats");
      });
      this.#armHeartbeat();
    });
  }

  /** True when the relay answered in time. */
  async #heartbeat(timeoutMs: number): Promise<boolean> {
    const agentStatus = this.#status?.agentStatus ?? "online";
    const status = agentStatus === "offline" ? "online" : agentStatus;
    return await this.#call("heartbeat", { status }, timeoutMs) !== null;
  }

  /** The peer may be gone for long, and no heartbeat was due: timers stood still as well. */
  #woke(): void {
    this.#tell(() => this.#options.events.woke?.());
    const link = this.#link;
    if (link === null || this.#state.state !== "registered") return;
    void this.#heartbeat(WAKE_MS).then((answered) => {
      if (answered || this.#link !== link) return;
      this.#drop(link, "dead-peer", "no answer after a wake from sleep");
    });
  }

  #unwatch(): void {
    this.#stopWake?.();
    this.#stopWake = null;
  }

  #received(link: Link, data: string): void {
    for (const decoded of decodeServerFrames(data)) {
      if (link !== this.#link) return;
      if (decoded.ok) this.#frame(link, decoded.value);
      else if (decoded.reason !== "unknown frame type") this.#badFrame(link, decoded.reason);
    }
  }

  #frame(link: Link, frame: ServerFrame): void {
    switch (frame.type) {
      case "ack":
        return this.#settle(frame.payload.frameId, { ok: true, payload: frame.payload });
      case "error":
        if (frame.payload.frameId === undefined) return;
        return this.#settle(frame.payload.frameId, { ok: false, ...frame.payload });
      case "registered":
        return;
      case "event":
        return this.#event(link, frame.id, frame.payload);
      case "command":
        this.#tell(() => this.#options.events.command?.(frame.payload as CommandPayload));
        this.#acks.push(frame.id);
        return;
    }
  }

  #event(link: Link, id: string, payload: EventPayload): void {
    if (payload.event === "message.new") {
      const message = validateMessage(payload.message ?? payload.data);
      if (!message.ok) this.#badFrame(link, `message: ${message.reason}`);
      else this.#tell(() => this.#options.events.message?.(message.value));
    } else if (payload.event === "message.dropped" && isRecord(payload.data)) {
      const { storeId, messageId, generation } = payload.data;
      if (typeof storeId === "string" && isMessageId(messageId) && isMessageId(generation)) {
        this.#tell(() => this.#options.events.dropped?.({ storeId, messageId, generation }));
      } else this.#badFrame(link, "ill-typed dead letter");
    }
    if (this.#cursor !== null && payload.seq > this.#cursor.seq) this.#cursor.seq = payload.seq;
    if (payload.event === "message.new") this.#acks.message(id);
    else this.#acks.push(id);
  }

  #badFrame(link: Link, reason: string): void {
    if (this.#bad.take(reason) === "too many") this.#drop(link, "protocol", "too many bad frames");
  }

  #drop(link: Link, kind: "dead-peer" | "protocol", message: string): void {
    this.#leaving = { kind, message };
    link.close(1000, message.slice(0, 100));
  }

  #settle(frameId: string, answer: Answer): void {
    const settle = this.#pending.get(frameId);
    this.#pending.delete(frameId);
    settle?.(answer);
  }

  /** Sends a frame and waits for its answer; null: no answer within the deadline, or the link dropped. */
  #call(type: string, payload: object, timeoutMs = CALL_MS): Promise<Answer> {
    if (this.#pending.size >= PENDING_LIMIT) return Promise.resolve(null);
    if (type !== "register" && this.#state.state !== "registered") return Promise.resolve(null);
    return new Promise((resolve) => {
      const id = this.#newId();
      const cancel = this.#clock.setTimer(timeoutMs, () => this.#settle(id, null));
      this.#pending.set(id, (answer) => {
        cancel();
        resolve(answer);
      });
      if (!this.#send({ type, id, payload })) this.#settle(id, null);
    });
  }

  #newId(): string {
    return `c${++this.#nextId}`;
  }

  /** False when there is no link. A frame that a link could not send is settled when the link has ended. */
  #send(frame: { id?: string; type: string; payload: object }): boolean {
    if (this.#link === null) return false;
    this.#out.send(JSON.stringify(frame), frame.id !== undefined);
    return true;
  }

  #unlink(): void {
    this.#link = null;
    this.#out.clear();
    this.#out.taken = false;
    this.#acks.clear();
    this.#cancelHeartbeat?.();
    this.#cancelHeartbeat = null;
    this.#cancelStatus?.();
    this.#cancelStatus = null;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const settle of pending) settle(null);
  }

  #setState(state: TransportState): void {
    if (this.#state.state === "closed") return;
    this.#state = state;
    this.#tell(() => this.#options.events.state?.(state));
  }

  #tell(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.log.error("a bus handler failed", { error: messageOf(error) });
    }
  }
}
