import type { CommandPayload, CommandUpdatePayload } from "../../lib/protocol/frames.ts";
import type { CommandStatus, DeadLetter, Message, StageReport } from "../../lib/protocol/message.ts";
import { type Case, caseOf } from "./case.ts";
import type { Posting } from "./plan.ts";
import type { Timeline } from "./timeline.ts";

export const AGENT = "sim-agent";
export const RIVAL = "sim-rival";

/** A message as the relay holds it. */
interface Mail {
  readonly case: Case;
  /** Recipients that have not read it. */
  readonly open: Set<string>;
  claim: { by: string; instanceId: string; until: number; lapse: number } | null;
  /** Our agent gave it up. */
  dead: boolean;
  /** How often a person opened it again for our agent. */
  generation: number;
}

/** A command as the relay holds it. */
export interface CommandRecord {
  readonly payload: CommandPayload;
  status: CommandStatus;
  /** Every status an agent reported, for the oracle. */
  readonly told: CommandStatus[];
}

/** The message as our agent is offered it. */
function offerOf({ case: { message }, generation }: Mail): Message {
  return generation === 0 ? message : { ...message, generation };
}

/** What a registered connection gets pushed. */
export interface Subscriber {
  readonly instanceId: string;
  message(message: Message): void;
  command(payload: CommandPayload): void;
  /** A person dropped a dead letter. */
  dropped(letter: { storeId: string; messageId: number; generation: number }): void;
  /** The relay closed the connection. */
  closed(): void;
}

export type ClaimAnswer = { ok: true; leaseMs: number } | { ok: false };

/**
 * The relay: what it stores survives its restarts, what it holds in memory (connections, what was pushed) does not.
 * A second agent with the same capability is a client of it too (rival.ts).
 */
export class RelayModel {
  readonly #timeline: Timeline;
  readonly #leaseMs: number;
  readonly mails = new Map<number, Mail>();
  readonly commands = new Map<string, CommandRecord>();
  /** Every command there ever was, also of an earlier store. */
  readonly issued: CommandRecord[] = [];
  readonly #newMail: (() => void)[] = [];
  #storeNumber = 1;
  #nextId = 1;
  #lapses = 0;
  #subscriber: Subscriber | null = null;
  down = false;
  deregistrations = 0;

  constructor(timeline: Timeline, leaseMs: number) {
    this.#timeline = timeline;
    this.#leaseMs = leaseMs;
  }

  get storeId(): string {
    return `store-${this.#storeNumber}`;
  }

  get connected(): boolean {
    return this.#subscriber !== null;
  }

  onNewMail(listener: () => void): void {
    this.#newMail.push(listener);
  }

  /** Stores a message and pushes it. */
  post(posting: Posting): Case {
    const id = this.#nextId++;
    const claimable = posting.claimable;
    const message: Message = {
      id,
      storeId: this.storeId,
      from: "sim-sender",
      to: posting.to === "agent" ? AGENT : posting.to === "broadcast" ? "broadcast" : "cap:work",
      kind: claimable ? "task" : "chat",
      body: "12345678",
      claimable,
      createdAt: Math.round(this.#timeline.now),
      ...(posting.replyExpected ? { replyExpected: true } : {}),
    };
    const each = caseOf(`${this.storeId}/${id}`, message, posting);
    const open = new Set(posting.to === "agent" ? [AGENT] : [AGENT, RIVAL]);
    this.mails.set(id, { case: each, open, claim: null, dead: false, generation: 0 });
    this.#subscriber?.message(message);
    for (const listener of this.#newMail) listener();
    return each;
  }

  /** Takes a registration; an older connection is closed. */
  register(subscriber: Subscriber): void {
    this.#subscriber?.closed();
    this.#subscriber = subscriber;
    for (const message of this.unread(AGENT, 0, 1_000)) subscriber.message(message);
    for (const command of this.commands.values()) {
      if (command.status === "pending") subscriber.command(command.payload);
    }
  }

  detach(subscriber: Subscriber): void {
    if (this.#subscriber === subscriber) this.#subscriber = null;
  }

  /** Stops serving; with `forget` it comes back with a new database. */
  stop(forget: boolean): void {
    this.down = true;
    const subscriber = this.#subscriber;
    this.#subscriber = null;
    subscriber?.closed();
    if (!forget) return;
    this.#storeNumber++;
    this.#nextId = 1;
    this.mails.clear();
    this.commands.clear();
  }

  start(): void {
    this.down = false;
  }

  unread(agentId: string, sinceId: number, limit: number): Message[] {
    const page: Message[] = [];
    for (const [id, mail] of this.mails) {
      if (id <= sinceId || !mail.open.has(agentId) || this.#heldByOther(mail, agentId)) continue;
      page.push(offerOf(mail));
      if (page.length >= limit) break;
    }
    return page;
  }

  #heldByOther(mail: Mail, agentId: string): boolean {
    return mail.claim !== null && mail.claim.by !== agentId && mail.claim.until > this.#timeline.now;
  }

  /** Remaining lease of an agent on a message in milliseconds; 0 when it has none. */
  leaseLeft(id: number, agentId: string): number {
    const claim = this.mails.get(id)?.claim;
    return claim?.by === agentId ? Math.max(0, claim.until - this.#timeline.now) : 0;
  }

  claim(id: number, agentId: string, instanceId: string, renewal: boolean): ClaimAnswer {
    const mail = this.mails.get(id);
    if (mail === undefined || !mail.case.message.claimable || !mail.open.has(agentId)) return { ok: false };
    const { claim } = mail;
    const holder = claim?.by === agentId;
    const live = claim !== null && claim.until > this.#timeline.now;
    if ((live && !holder) || (renewal && claim !== null && !holder)) return { ok: false };
    const lapse = ++this.#lapses;
    mail.claim = { by: agentId, instanceId, until: this.#timeline.now + this.#leaseMs, lapse };
    this.#timeline.after(this.#leaseMs + 1_000, () => {
      if (mail.claim?.lapse === lapse) this.#free(mail);
    });
    return { ok: true, leaseMs: this.#leaseMs };
  }

  release(id: number, agentId: string): void {
    const mail = this.mails.get(id);
    if (mail?.claim?.by === agentId) this.#free(mail);
  }

  /** Gives the message back and offers it again. */
  #free(mail: Mail): void {
    mail.claim = null;
    if (mail.open.size === 0 || this.mails.get(mail.case.message.id) !== mail) return;
    if (mail.open.has(AGENT)) this.#subscriber?.message(offerOf(mail));
    for (const listener of this.#newMail) listener();
  }

  /** Marks a message read; false when the relay refuses. */
  read(id: number, agentId: string): boolean {
    const mail = this.mails.get(id);
    if (mail === undefined) return true;
    if (!mail.open.has(agentId)) return true;
    if (mail.case.message.claimable) {
      if (this.#heldByOther(mail, agentId)) return false;
      mail.open.clear();
      // Nobody opens a letter again whose work another agent has done: the relay closes it with the rest.
      mail.dead = false;
      mail.claim = null;
    }
    mail.open.delete(agentId);
    return true;
  }

  report(reports: readonly StageReport[]): void {
    for (const { messageId, stage, generation = 0 } of reports) {
      const mail = this.mails.get(messageId);
      if (stage !== "dead" || mail === undefined || generation !== mail.generation) continue;
      if (mail.open.delete(AGENT)) mail.dead = true;
    }
  }

  /** What our agent gave up and nobody has decided on. */
  deadLetters(): DeadLetter[] {
    return [...this.mails.values()].filter((mail) => mail.dead).map(({ case: { message }, generation }) => ({
      messageId: message.id,
      agentId: AGENT,
      generation,
      at: 0,
      reason: "",
      excerpt: "",
      from: message.from,
      to: message.to,
    }));
  }

  /** A person opens a dead letter again, or drops it for good. Returns it, undefined when there is none. */
  decide(how: "retry" | "drop", pick: (letters: readonly DeadLetter[]) => DeadLetter): Case | undefined {
    const letters = this.deadLetters();
    if (letters.length === 0) return undefined;
    const { messageId, generation } = pick(letters);
    const mail = this.mails.get(messageId)!;
    mail.dead = false;
    if (how === "retry") {
      mail.generation++;
      mail.open.add(AGENT);
      this.#subscriber?.message(offerOf(mail));
    } else this.#subscriber?.dropped({ storeId: this.storeId, messageId, generation });
    return mail.case;
  }

  /** Stores a lifecycle command and pushes it. */
  command(type: string, target: string): CommandRecord {
    const commandId = `command-${this.issued.length + 1}`;
    const at = Math.round(this.#timeline.now);
    const record: CommandRecord = {
      payload: {
        commandType: type,
        target,
        params: {},
        commandId,
        command: { id: commandId, type, target, params: {}, status: "pending", createdAt: at, updatedAt: at },
      },
      status: "pending",
      told: [],
    };
    this.commands.set(commandId, record);
    this.issued.push(record);
    if (target === AGENT) this.#subscriber?.command(record.payload);
    this.#timeline.after(60_000, () => {
      if (record.status === "pending") record.status = "expired";
    });
    return record;
  }

  /** Pushes a command once more, whatever became of it. */
  repeatCommand(record: CommandRecord): void {
    this.#subscriber?.command(record.payload);
  }

  updateCommand({ commandId, status }: CommandUpdatePayload): void {
    const record = this.commands.get(commandId);
    if (record === undefined) return;
    record.told.push(status);
    const order: CommandStatus[] = ["pending", "accepted", "running", "succeeded", "failed"];
    if (order.indexOf(status) > order.indexOf(record.status) && !ENDED.has(record.status)) {
      record.status = status;
    }
  }

  remove(agentId: string): void {
    if (agentId === AGENT) this.deregistrations++;
  }
}

export const ENDED: ReadonlySet<CommandStatus> = new Set(["succeeded", "failed", "canceled", "expired"]);
