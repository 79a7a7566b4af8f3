import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { AgentDirectory } from "./agents.ts";
import type { ClaimStore } from "./claims.ts";
import type { CommandStore } from "./commands.ts";
import type { RelayDatabase } from "./database.ts";
import type { Hub } from "./hub.ts";
import type { Expired, MessageStore } from "./messages.ts";
import type { ReceiptStore } from "./receipts.ts";

const SWEEP_MS = 1_000;
/** Between two looks of a relay at rest: at its sockets, and at a wall clock that somebody may set. */
const REST_MS = 5_000;

/** What a sweep looks after, and whom it tells. */
export interface SweepOptions {
  clock: Clock;
  log: Log;
  db: RelayDatabase;
  hub: Hub;
  agents: AgentDirectory;
  messages: MessageStore;
  receipts: ReceiptStore;
  claims: ClaimStore;
  commands: CommandStore;
  events: {
    /** The time of a message or a command is over. */
    expired(key: `message/${number}` | `command/${string}`): void;
    /** Nobody holds the work any more. */
    freed(messageId: number): void;
  };
}

/**
 * Does what is due, within a second: repeats pushes and drops silent sockets, ends mail, commands and claims whose time is
 * over, and writes what agents said of themselves. When there was nothing new it rests until there is or until the next
 * time comes, as most relays do most of the time: being woken is what costs at rest.
 */
export class Sweep {
  readonly #options: SweepOptions;
  #state: "awake" | "resting" | "stopped" = "awake";
  #cancel = () => {};
  /** Wall time up to which no mail waits whose time is over. */
  #expiredThrough = 0;
  /** What was found at the last look, null when that is not known. `due` is when the next time comes, of leases `leaseDue`. */
  #found: { changes: number; at: number; due: number; leaseDue: number } | null = null;

  /** Begins to sweep. */
  constructor(options: SweepOptions) {
    this.#options = options;
    this.#arm(SWEEP_MS);
  }

  /** Something was written, or is to be. */
  note(): void {
    if (this.#state !== "resting") return;
    this.#state = "awake";
    this.#arm(SWEEP_MS);
  }

  /** Ends it. Idempotent. */
  stop(): void {
    this.#state = "stopped";
    this.#cancel();
  }

  #arm(delayMs: number): void {
    this.#cancel();
    this.#cancel = this.#options.clock.setTimer(delayMs, () => this.#sweep());
  }

  #sweep(): void {
    const { clock, hub, log } = this.#options;
    hub.sweep();
    if (!this.#isDue()) {
      this.#state = "resting";
      const { due, leaseDue } = this.#found!;
      const nextMs = Math.min(due - clock.wall(), leaseDue - clock.mono());
      return this.#arm(Math.max(SWEEP_MS, Math.min(REST_MS, nextMs)));
    }
    this.#state = "awake";
    this.#arm(SWEEP_MS);
    this.#end().catch((error) => log.warn("the relay's sweep failed", { error: messageOf(error) }));
  }

  #isDue(): boolean {
    const { clock, db, agents } = this.#options;
    const found = this.#found;
    const now = clock.wall();
    // A wall clock that was set back may bring times that were not asked for.
    return found === null || agents.unwritten || db.changes !== found.changes || now >= found.due ||
      clock.mono() >= found.leaseDue || now < found.at;
  }

  async #end(): Promise<void> {
    const { clock, db, agents, claims, commands, events } = this.#options;
    this.#found = null;
    const { now, mail, late, freed, over, said } = await db.write(() => {
      const now = clock.wall();
      const { freed, over } = claims.expire();
      return {
        now,
        mail: this.#expireMail(now, freed),
        late: commands.expire(now),
        freed,
        over,
        said: agents.persist(),
      };
    });
    agents.persisted(said);
    claims.forget(over);
    this.#expiredThrough = mail.through;
    const due = mail.through === now ? this.#nextDue(now) : now;
    this.#found = { changes: db.changes, at: now, due, leaseDue: claims.nextExpiry() };
    for (const { messageId } of mail.mail) events.expired(`message/${messageId}`);
    for (const id of late) events.expired(`command/${id}`);
    for (const id of freed) events.freed(id);
  }

  #expireMail(now: number, freed: readonly number[]): Expired {
    const { messages, receipts } = this.#options;
    // A wall clock that was set back lives through some of its time again, with other mail.
    const since = now < this.#expiredThrough ? 0 : this.#expiredThrough;
    const { mail, through } = messages.expireMessages(now, since);
    // What was just freed is not held any more, and its time may have been over long before.
    mail.push(...messages.expireFreed(freed, now));
    receipts.report(mail.map((each) => ({ ...each, stage: "expired", at: now })), now);
    return { mail, through };
  }

  /** The first time after `now` at which something of what is in the database ends, but for leases. */
  #nextDue(now: number): number {
    const { messages, commands } = this.#options;
    return Math.min(messages.nextExpiry(now), commands.nextExpiry());
  }
}
