import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { CommandUpdatePayload, Registered, RegisterPayload, StatusPayload } from "../protocol/frames.ts";
import type {
  AgentStatus,
  ClaimGrant,
  Command,
  Receipt,
  SendInput,
  SendResult,
  StageReport,
} from "../protocol/message.ts";
import { AgentDirectory } from "./agents.ts";
import { RelayAuth } from "./auth.ts";
import { type Claimant, ClaimStore } from "./claims.ts";
import { type CommandInput, CommandStore } from "./commands.ts";
import type { RelayDatabase } from "./database.ts";
import { type DeadLetterKey, DeadLetters } from "./dead_letters.ts";
import { type Connection, Hub } from "./hub.ts";
import { MessageStore } from "./messages.ts";
import { keptMeta } from "./meta.ts";
import { openRelayDatabase } from "./open_database.ts";
import { ReceiptStore } from "./receipts.ts";
import { Retention } from "./retention.ts";
import { Sweep } from "./sweep.ts";
import type { Unreadable } from "./unreadable.ts";
import { Waiters } from "./waiters.ts";

/** Until the first step of the retention. */
const FIRST_PRUNE_MS = 1_000;
/** Between two steps of it: while there is something to remove, while there is more to look at, at rest. */
const PRUNE_MS = { removing: 50, looking: 1_000, resting: 60_000 };
const HEARTBEAT_MS = 15_000;

/** Something that happened, for `GET /api/events`. */
export interface RelayEvent {
  event: string;
  data: unknown;
}

/** What the relay can do, whoever asks: the bus and the REST routes are two doors to it. */
export class RelayService {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #db: RelayDatabase;
  readonly agents: AgentDirectory;
  readonly messages: MessageStore;
  readonly #claims: ClaimStore;
  readonly receipts: ReceiptStore;
  readonly dead: DeadLetters;
  readonly #retention: Retention;
  readonly commands: CommandStore;
  readonly hub: Hub;
  readonly auth: RelayAuth;
  readonly #waiters: Waiters;
  readonly #listeners = new Set<(event: RelayEvent) => void>();
  readonly #sweep: Sweep;
  /** What no client can read and is being ended, by message, agent and generation. */
  readonly #ending = new Set<string>();
  #cancelPrune: () => void;
  #stopped = false;

  constructor(options: { dbPath: string; token: string | null; leaseMs: number; clock: Clock; log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#waiters = new Waiters(options.clock);
    this.#db = openRelayDatabase(options);
    this.agents = new AgentDirectory(this.#db, (agentId) => this.hub.isConnected(agentId));
    this.messages = new MessageStore(this.#db, this.agents, (found) => void this.#endUnreadable(found));
    this.#claims = new ClaimStore(this.#db, options.leaseMs, options.clock);
    this.receipts = new ReceiptStore(this.#db, this.messages);
    this.dead = new DeadLetters(this.#db, this.messages, this.receipts);
    this.#retention = new Retention(this.#db, this.messages);
    this.commands = new CommandStore(this.#db);
    this.hub = new Hub(
      this.#clock,
      (agentId, sinceId, limit) => this.messages.unread(agentId, sinceId, limit),
    );
    this.auth = new RelayAuth({
      token: options.token,
      key: this.#db.tokenKey,
      epochOf: (agentId) => this.agents.epoch(agentId),
    });
    this.#sweep = new Sweep({
      clock: this.#clock,
      log: this.#log,
      db: this.#db,
      hub: this.hub,
      agents: this.agents,
      messages: this.messages,
      receipts: this.receipts,
      claims: this.#claims,
      commands: this.commands,
      events: { expired: (key) => this.#waiters.wake(key), freed: (id) => this.#offerAgain(id) },
    });
    this.#db.onChange = () => this.#sweep.note();
    this.#cancelPrune = this.#clock.setTimer(FIRST_PRUNE_MS, () => this.#prune());
  }

  get storeId(): string {
    return this.#db.storeId;
  }

  get now(): number {
    return this.#clock.wall();
  }

  /** For the timers of one connection. */
  get clock(): Clock {
    return this.#clock;
  }

  /**
   * Registers a component; its unread mail is pushed once the caller attached its socket to the hub. `by` is the agent
   * whose token registers, null for the operator.
   */
  async register(payload: RegisterPayload, by: string | null = null): Promise<Registered> {
    const kept = { ...payload, meta: keptMeta(payload.meta ?? {}) };
    const { agentId, epoch } = await this.#db.write(() => {
      const registration = this.agents.register(kept, this.now, by);
      this.messages.adopt(registration.agentId);
      this.commands.adopt(payload.componentId, registration.agentId);
      return registration;
    });
    this.#tell("agent.registered", { agentId });
    return {
      agentId,
      componentId: payload.componentId,
      instanceId: payload.instanceId,
      epoch,
      cursor: this.messages.cursor(),
      heartbeatIntervalMs: HEARTBEAT_MS,
      serverTime: this.now,
      storeId: this.storeId,
      batch: true,
      agentToken: this.auth.agentToken(agentId, epoch),
    };
  }

  /** Pushes everything that waits for a connection: unread mail and commands nobody took. */
  welcome(connection: Connection): void {
    this.hub.pump(connection.agentId);
    for (const command of this.commands.pending(connection.agentId, this.now)) this.hub.pushCommand(command);
  }

  /** A connection is gone: its agent is not ready from this moment. */
  left(connection: Connection): void {
    if (!this.hub.detach(connection) || this.#stopped) return;
    try {
      this.agents.seen(connection.agentId, this.now);
      this.#sweep.note();
    } catch (error) {
      // Called by a socket's handler: a throw would end the process.
      this.#log.warn("the loss of an agent cannot be noted", { error: messageOf(error) });
    }
    this.#tell("agent.disconnected", { agentId: connection.agentId });
  }

  /** Stores and pushes a message. `by` is the agent whose token sends it, null for the operator. */
  async send(input: SendInput, by: string | null = null): Promise<SendResult> {
    const result = await this.#db.write(
      () => this.messages.send(input, this.now, by),
      ({ duplicate, recipients, message }) => {
        if (!duplicate) { for (const agentId of recipients) this.hub.offer(agentId, message); }
      },
    );
    if (!result.duplicate) {
      if (input.replyTo !== undefined) this.#waiters.wake(`message/${input.replyTo}`);
      this.#tell("message.new", result.message);
    }
    return result;
  }

  claim(id: number, by: Claimant, renewal: boolean): Promise<ClaimGrant> {
    return this.#db.write(
      () => this.#claims.claim(id, by, this.now, renewal),
      (grant) => this.#claims.granted(grant),
    );
  }

  async release(id: number, by: Claimant): Promise<void> {
    const { freed, late } = await this.#db.write(() => {
      const { now } = this;
      const freed = this.#claims.release(id, by);
      // Its time may have been over while it was held: nobody else is to begin with it.
      const late = freed ? this.messages.expireFreed([id], now) : [];
      this.receipts.report(late.map((each) => ({ ...each, stage: "expired", at: now })), now);
      return { freed, late };
    });
    if (late.length > 0) this.#waiters.wake(`message/${id}`);
    if (freed) this.#offerAgain(id, by.agentId);
  }

  /** Marks messages read. Those that are gone count as read; a claim of another agent is `E_CONFLICT`. */
  async read(ids: number[], agentId: string): Promise<void> {
    const conflict = await this.#db.write(() => {
      let refused: RunnerError | null = null;
      for (const id of ids) {
        try {
          this.messages.read(id, agentId, this.now);
        } catch (error) {
          if (!(error instanceof RunnerError)) throw error;
          if (error.code !== "E_NOT_FOUND") refused ??= error;
        }
      }
      return refused;
    });
    for (const id of ids) this.#waiters.wake(`message/${id}`);
    this.#tell("message.read", { ids, agentId });
    if (conflict !== null) throw conflict;
  }

  /** Takes what agents say of the messages that were sent to them; the rest is left out. */
  async report(reports: readonly StageReport[]): Promise<void> {
    const told = await this.#db.write(() => this.receipts.report(reports, this.now));
    for (const id of new Set(told.map((report) => report.messageId))) this.#waiters.wake(`message/${id}`);
    if (told.length > 0) this.#tell("receipt", { reports: told });
  }

  /** What no client can read would be pushed for ever: it is a dead letter, for a person to see. */
  async #endUnreadable({ messageId, agentId, generation, reason }: Unreadable): Promise<void> {
    const key = `${messageId} ${agentId} ${generation}`;
    if (this.#ending.has(key) || this.#stopped) return;
    this.#ending.add(key);
    this.#log.warn("a message cannot be handed out, it is a dead letter now", { messageId, agentId, reason });
    const evidence = `no client can read it: ${reason}`;
    try {
      await this.report([{ messageId, agentId, generation, stage: "dead", at: this.now, evidence }]);
    } catch (error) {
      // It is found again when somebody asks for it.
      this.#log.warn("the end of a message cannot be written", { messageId, error: messageOf(error) });
    } finally {
      this.#ending.delete(key);
    }
  }

  /** Opens a dead letter again; its agent gets it at once when it is connected, else when it comes. */
  async retryDead(key: DeadLetterKey): Promise<void> {
    if (!await this.#db.write(() => this.dead.retry(key, this.now))) return;
    const message = this.messages.offer(key.messageId, key.agentId);
    if (message !== undefined) this.hub.offerAgain(key.agentId, message);
    this.#waiters.wake(`message/${key.messageId}`);
    this.#tell("message.reopened", key);
  }

  /** Ends a dead letter; its agent and whoever waits on the receipt hear of it. */
  async dropDead(key: DeadLetterKey): Promise<void> {
    if (!await this.#db.write(() => this.dead.drop(key, this.now))) return;
    this.hub.pushDropped(key, this.storeId);
    this.#waiters.wake(`message/${key.messageId}`);
    this.#tell("message.dropped", key);
  }

  status(agentId: string, payload: StatusPayload): void {
    const { meta } = payload;
    const said = { ...payload, ...(meta === undefined ? {} : { meta: keptMeta(meta) }) };
    this.agents.status(agentId, said, this.now);
    this.#sweep.note();
    this.#tell("agent.status", { agentId, ...said });
  }

  heartbeat(agentId: string, status?: AgentStatus): void {
    this.agents.seen(agentId, this.now, status);
    this.#sweep.note();
  }

  patchAgent(agentId: string, change: Parameters<AgentDirectory["patch"]>[1]): Promise<boolean> {
    return this.#db.write(() => this.agents.patch(agentId, change));
  }

  async removeAgent(agentId: string): Promise<boolean> {
    const removed = await this.#db.write(() => this.agents.remove(agentId));
    if (removed) this.#tell("agent.removed", { agentId });
    return removed;
  }

  async createCommand(input: CommandInput): Promise<Command> {
    const command = await this.#db.write(() => {
      const target = this.agents.idOf(input.target) ?? input.target;
      return this.commands.create({ ...input, target }, this.now);
    });
    this.hub.pushCommand(command);
    this.#tell("command", command);
    return command;
  }

  async updateCommand(update: CommandUpdatePayload): Promise<Command> {
    const command = await this.#db.write(() => this.commands.update(update, this.now));
    this.#waiters.wake(`command/${command.id}`);
    this.#tell("command", command);
    return command;
  }

  removeCommand(id: string): Promise<boolean> {
    return this.#db.write(() => this.commands.remove(id));
  }

  /** The receipt as an agent may see it (null: the operator), once its version is above `after` or `waitMs` has passed. */
  async receipt(
    id: number,
    agentId: string | null,
    { after, waitMs }: { after: number; waitMs: number },
  ): Promise<Receipt | undefined> {
    const now = this.receipts.receipt(id, agentId);
    if (now === undefined || now.version > after || waitMs <= 0 || this.#stopped) return now;
    await this.#waiters.change(`message/${id}`, waitMs);
    return this.#stopped ? now : this.receipts.receipt(id, agentId);
  }

  /** The command, once it has ended or `waitMs` has passed. */
  async command(id: string, waitMs: number): Promise<Command | undefined> {
    const deadline = this.#clock.mono() + waitMs;
    for (;;) {
      const command = this.#stopped ? undefined : this.commands.one(id);
      const left = deadline - this.#clock.mono();
      if (command === undefined || left <= 0 || !isOpen(command)) return command;
      await this.#waiters.change(`command/${id}`, left);
      if (this.#stopped) return command;
    }
  }

  /** Hears of everything that happens until the returned function is called. */
  listen(listener: (event: RelayEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(event: string, data: unknown): void {
    for (const listener of this.#listeners) listener({ event, data });
  }

  #offerAgain(id: number, except?: string): void {
    for (const agentId of this.messages.waiting(id)) {
      const message = agentId === except ? undefined : this.messages.offer(id, agentId);
      if (message !== undefined) this.hub.offerAgain(agentId, message);
    }
  }

  #prune(): void {
    const next = (delayMs: number) => {
      if (!this.#stopped) this.#cancelPrune = this.#clock.setTimer(delayMs, () => this.#prune());
    };
    const step = () => {
      const removed = this.#retention.step(this.now);
      return { removed, forgotten: this.#retention.underWay ? [] : this.agents.forgetSilent(this.now) };
    };
    this.#db.write(step).then(
      ({ removed, forgotten }) => {
        for (const agentId of forgotten) this.#tell("agent.removed", { agentId });
        next(PRUNE_MS[removed > 0 ? "removing" : this.#retention.underWay ? "looking" : "resting"]);
      },
      (error) => {
        this.#log.warn("the relay cannot remove old messages", { error: messageOf(error) });
        next(60_000);
      },
    );
  }

  /** Drops every client when memory is short; nothing is lost, since what is unread is in the database. */
  dropClients(): void {
    this.#tell("relay.stopping", {});
    this.hub.dropAll();
  }

  /** Ends everything: waiting callers are answered, sockets closed, the database is closed last. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#sweep.stop();
    this.#cancelPrune();
    this.#waiters.wakeAll();
    this.#tell("relay.stopping", {});
    this.hub.closeAll();
    this.#db.write(() => this.agents.persist()).catch(() => {});
    this.#db.close();
  }
}

function isOpen(command: Command): boolean {
  return command.status === "pending" || command.status === "accepted" || command.status === "running";
}
