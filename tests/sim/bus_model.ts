import type { CommandPayload, StatusPayload } from "../../lib/protocol/frames.ts";
import type { Message } from "../../lib/protocol/message.ts";
import type {
  CallFailure,
  CallResult,
  ClaimResult,
  CloseReason,
  RelayBus,
  RelayHttp,
  TransportState,
} from "../../lib/sdk/contract.ts";
import type { Host } from "./host.ts";
import { AGENT, type Subscriber } from "./relay_model.ts";
import type { World } from "./world.ts";

/** Deadline of every call, as the real client has it. */
const CALL_MS = 10_000;
/** Two missed heartbeats: the longest a silent link goes unnoticed. */
const SILENT_MS = 45_000;
/** Messages that are pushed without being acked. */
const WINDOW = 3;
/** A push without ack is sent again after this time. */
const RESEND_MS = 30_000;

const AWAY: CallFailure = { ok: false, kind: "unavailable", message: "the relay did not answer" };

/** What the runner's bus client tells it. */
export interface BusListener {
  onTransport(state: TransportState): void;
  onMessage(message: Message): void;
  onCommand(command: CommandPayload): void;
  onDropped(letter: { storeId: string; messageId: number; generation: number }): void;
}

/** One connection between a runner and the relay. */
class Connection implements Subscriber {
  open = true;
  /** Nothing gets through and nobody has noticed. */
  silent = false;
  readonly storeId: string;
  /** When the last push arrived: one socket keeps its order. */
  lastPushAt = 0;
  /** When the last call reached the relay, for the same reason. */
  lastCallAt = 0;
  readonly pending = new Set<() => void>();

  constructor(readonly bus: BusModel, readonly instanceId: string) {
    this.storeId = bus.world.relay.storeId;
  }

  message(message: Message): void {
    this.bus.mail(this, () => this.bus.listener.onMessage(message));
  }

  command(payload: CommandPayload): void {
    this.bus.push(this, () => {
      this.bus.world.oracle.tell(`${payload.commandType} ${payload.commandId} for ${payload.target}`);
      this.bus.listener.onCommand(payload);
    });
  }

  dropped(letter: { storeId: string; messageId: number; generation: number }): void {
    this.bus.push(this, () => this.bus.listener.onDropped(letter));
  }

  closed(): void {
    if (!this.silent) this.bus.world.machine.later(1, () => this.bus.lost(this, "closed by the relay"));
  }
}

/**
 * The runner's bus client and the network behind it: calls with a deadline, pushes that are repeated, one connection
 * that comes back by itself. The real client (lib/sdk) is tested with real sockets elsewhere.
 */
export class BusModel implements RelayBus {
  readonly world: World;
  readonly #host: Host;
  transportState: TransportState = { state: "idle" };
  #connection: Connection | null = null;
  #status: StatusPayload | null = null;
  #closed = false;
  #started = false;
  /** Messages that came while pushes were held, null while they are not. The first ones have been pushed. */
  #held: (() => void)[] | null = null;
  listener!: BusListener;

  constructor(world: World, host: Host) {
    this.world = world;
    this.#host = host;
  }

  connect(): void {
    if (this.#started) return;
    this.#started = true;
    this.#dial(this.world.random.between(5, 300));
  }

  /** The connection breaks; with `silent` nobody notices at first. */
  cut(silent: boolean): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.world.relay.detach(connection);
    if (!silent) return this.lost(connection, "reset");
    connection.silent = true;
    this.world.machine.later(
      SILENT_MS * (0.6 + 0.4 * this.world.random.next()),
      () => this.lost(connection, "dead peer"),
    );
  }

  /** The process is gone: the relay sees its socket close. */
  vanish(): void {
    this.#closed = true;
    const connection = this.#connection;
    this.#connection = null;
    if (connection === null) return;
    connection.open = false;
    this.world.relay.detach(connection);
  }

  lost(connection: Connection, why: string): void {
    if (!connection.open) return;
    connection.open = false;
    this.world.relay.detach(connection);
    if (this.#connection === connection) this.#connection = null;
    for (const settle of [...connection.pending]) settle();
    if (this.#held !== null) this.#held = [];
    if (this.#closed) return;
    const delayMs = this.world.random.between(100, 4_000);
    const reason: CloseReason = { kind: "network", message: why };
    this.#set({ state: "waiting", attempt: 0, delayMs, reason });
    this.#dial(delayMs);
  }

  #dial(delayMs: number): void {
    this.world.machine.later(delayMs, () => {
      if (this.#closed || this.#connection !== null || this.#host.gone) return;
      if (!this.world.reachable) return this.#dial(this.world.random.between(200, 3_000));
      const connection = new Connection(this, this.#host.instanceId);
      this.#connection = connection;
      const { relay } = this.world;
      this.#set({
        state: "registered",
        registered: {
          agentId: AGENT,
          componentId: "sim-runner",
          instanceId: this.#host.instanceId,
          epoch: this.#host.number,
          cursor: 0,
          heartbeatIntervalMs: 15_000,
          serverTime: 0,
          storeId: relay.storeId,
        },
      });
      if (connection.open) relay.register(connection);
    });
  }

  #set(state: TransportState): void {
    this.transportState = state;
    if (!this.#host.gone) this.listener.onTransport(state);
  }

  /** Pushes a message, or keeps it until somebody acks those before it. */
  mail(connection: Connection, deliver: () => void): void {
    if (this.#held === null) return this.push(connection, deliver);
    if (this.#held.push(() => this.push(connection, deliver)) <= WINDOW) this.#held.at(-1)!();
  }

  holdPushes(hold: boolean): void {
    if (hold) this.#held ??= [];
    else {
      const held = this.#held;
      this.#held = null;
      for (const push of held?.slice(WINDOW) ?? []) push();
    }
  }

  /** Sends a push to the runner until it arrived; late, twice or at the second try when a fault says so. */
  push(connection: Connection, deliver: () => void): void {
    const { faults, random, machine } = this.world;
    const arrive = () => {
      if (connection.open && !connection.silent && !this.#host.gone) deliver();
    };
    const { now } = this.world.timeline;
    connection.lastPushAt = Math.max(connection.lastPushAt, now + random.between(1, 10));
    const lateMs = faults.fires("push.lost")
      ? RESEND_MS
      : faults.fires("push.delay")
      ? random.between(20, 20_000)
      : 0;
    const delayMs = connection.lastPushAt - now + lateMs;
    machine.later(delayMs, arrive);
    if (faults.fires("push.duplicate")) machine.later(delayMs + random.between(0, 40_000), arrive);
  }

  setStatus(status: StatusPayload): void {
    this.#host.call("bus.setStatus", undefined, () => {
      this.#status = status;
      this.world.oracle.statusPublished(this.#host, status);
    });
  }

  async statusAsync(status: StatusPayload, timeoutMs = 2_000): Promise<boolean> {
    const answer = await this.#call("bus.statusAsync", () => {
      this.#status = status;
      return { ok: true, value: null };
    }, timeoutMs);
    return answer.ok;
  }

  get status(): StatusPayload | null {
    return this.#status;
  }

  claim(messageId: number): Promise<ClaimResult> {
    return this.#claim("bus.claim", messageId, false);
  }

  renew(messageId: number): Promise<ClaimResult> {
    return this.#claim("bus.renew", messageId, true);
  }

  #claim(port: "bus.claim" | "bus.renew", messageId: number, renewal: boolean): Promise<ClaimResult> {
    this.world.oracle.claimAsked(this.#host, messageId, renewal);
    return this.#call<ClaimResult>(port, () => {
      const answer = this.world.relay.claim(messageId, AGENT, this.#host.instanceId, renewal);
      if (!answer.ok) return { ok: false, kind: "lost" };
      this.world.oracle.leased(messageId, answer.leaseMs);
      const claimExpiresAt = this.world.timeline.now + answer.leaseMs;
      return {
        ok: true,
        value: { ok: true, messageId, claimedBy: AGENT, leaseMs: answer.leaseMs, claimExpiresAt },
      };
    });
  }

  release(messageId: number): Promise<CallResult<null>> {
    this.world.oracle.tell(`release ${messageId}`);
    return this.#call("bus.release", () => {
      this.world.relay.release(messageId, AGENT);
      return { ok: true, value: null };
    });
  }

  markRead(messageIds: number[]): Promise<CallResult<null>> {
    if (this.#connection !== null && !this.#host.gone) {
      this.world.oracle.markReadSent(this.#connection.storeId, messageIds);
    }
    return this.#call("bus.markRead", () => {
      const refused = messageIds.filter((id) => !this.world.relay.read(id, AGENT));
      if (refused.length === 0) return { ok: true, value: null };
      return { ok: false, kind: "rejected", status: 422, code: "E_CONFLICT", message: "held by another" };
    });
  }

  reportStages(reports: Parameters<RelayBus["reportStages"]>[0]): Promise<CallResult<null>> {
    return this.#call("bus.reportStages", () => {
      this.world.relay.report(reports);
      return { ok: true, value: null };
    });
  }

  send(input: Parameters<RelayBus["send"]>[0]): ReturnType<RelayBus["send"]> {
    return this.#call<Awaited<ReturnType<RelayBus["send"]>>>("bus.send", () => {
      this.world.oracle.replyStored(input);
      return { ok: true, value: { message: {} as Message, duplicate: false, recipients: [] } };
    });
  }

  updateCommand(update: Parameters<RelayBus["updateCommand"]>[0]): Promise<CallResult<null>> {
    return this.#call("bus.updateCommand", () => {
      this.world.oracle.tell(`${update.commandId} is ${update.status}`);
      this.world.relay.updateCommand(update);
      return { ok: true, value: null };
    });
  }

  reconnect(reason: string): void {
    if (this.#connection !== null) this.lost(this.#connection, reason);
  }

  close(): Promise<void> {
    return this.#host.callLater("bus.close", () => {
      const connection = this.#connection;
      this.vanish();
      for (const settle of connection?.pending ?? []) settle();
      this.transportState = { state: "closed", reason: { kind: "local" } };
      return new Promise((resolve) => this.world.machine.later(5, resolve));
    });
  }

  /** The relay's HTTP side; it needs no registered connection. */
  readonly http: RelayHttp = {
    listUnread: (agentId: string, options: { sinceId?: number; limit?: number } = {}) =>
      this.#request(
        "http.listUnread",
        () => ({
          ok: true,
          value: this.world.relay.unread(agentId, options.sinceId ?? 0, options.limit ?? 200),
        }),
        CALL_MS,
        null,
      ),
    getMessage: (id: number) =>
      this.#request(
        "http.getMessage",
        () => {
          const mail = this.world.relay.mails.get(id);
          if (mail !== undefined) return { ok: true, value: mail.case.message };
          return { ok: false, kind: "rejected", status: 404, code: "E_NOT_FOUND", message: "not here" };
        },
        CALL_MS,
        null,
      ),
    listDead: () =>
      this.#request(
        "http.listDead",
        () => ({
          ok: true,
          value: { letters: this.world.relay.deadLetters(), storeId: this.world.relay.storeId },
        }),
        CALL_MS,
        null,
      ),
    deleteAgent: (id: string) =>
      this.#request<CallResult<null>>(
        "http.deleteAgent",
        () => {
          this.world.relay.remove(id);
          return { ok: true, value: null };
        },
        CALL_MS,
        null,
      ),
  } as Partial<RelayHttp> as RelayHttp;

  #call<R extends { ok: boolean }>(
    port: string,
    act: () => R | CallFailure,
    timeoutMs = CALL_MS,
  ): Promise<R | CallFailure> {
    const connection = this.#connection;
    if (connection === null || this.transportState.state !== "registered") return Promise.resolve(AWAY);
    return this.#request(port, act, timeoutMs, connection);
  }

  #request<R extends { ok: boolean }>(
    port: string,
    act: () => R | CallFailure,
    timeoutMs: number,
    connection: Connection | null,
  ): Promise<R | CallFailure> {
    return this.#host.callLater(port, () =>
      new Promise((resolve) => {
        const { faults, random, machine } = this.world;
        const settle = (answer: R | CallFailure) => {
          cancel();
          connection?.pending.delete(dropped);
          resolve(answer);
        };
        const dropped = () => settle(AWAY);
        const cancel = machine.later(timeoutMs, dropped);
        connection?.pending.add(dropped);
        const reaches = () =>
          connection === null ? this.world.reachable : connection.open && !connection.silent;
        if (faults.fires("request.lost")) return;
        const slow = faults.fires("call.delay") ? random.between(100, 15_000) : 0;
        const slowReply = slow > 0 && random.chance(0.5);
        let arriveMs = random.between(1, 8) + (slowReply ? 0 : slow);
        if (connection !== null) {
          const { now } = this.world.timeline;
          connection.lastCallAt = Math.max(connection.lastCallAt, now + arriveMs);
          arriveMs = connection.lastCallAt - now;
        }
        this.world.timeline.after(arriveMs, () => {
          if (!reaches()) return;
          if (faults.fires("reply.500")) return void machine.later(2, dropped);
          const answer = act();
          if (faults.fires("reply.lost")) return;
          const garbage = faults.fires("reply.garbage");
          machine.later(random.between(1, 8) + (slowReply ? slow : 0), () => {
            if (connection !== null && (!connection.open || connection.silent)) return;
            settle(garbage ? { ok: false, kind: "unknown", message: "the reply is not JSON" } : answer);
          });
        });
      }));
  }
}
