import { withDeadline } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { JournalRow } from "../inbox/contract.ts";
import { keyOf } from "../inbox/core/row.ts";
import type { CallFailure } from "../sdk/contract.ts";
import { endReason } from "./core/status.ts";
import type { CoreConfig, Effect, Event, ExitOutcome } from "./core/types.ts";
import type { Outbox } from "./outbox.ts";
import type { RunnerPorts } from "./ports.ts";

/** Longest time the goodbye to the relay may take in all. */
const GOODBYE_MS = 2_000;
/** The same for a hard end, all of which has 2 s. */
const HARD_GOODBYE_MS = 500;
/** A peer that does not close its side is left. */
const CLOSE_MS = 300;
const PAGE = 500;
const DEAD_PAGE = 1_000;
/** A reply beyond this is cut; the relay refuses bodies over 1 MiB. */
const REPLY_LIMIT = 500_000;

type RelayEffect = Extract<
  Effect,
  { type: "claim" | "renew" | "release" | "reply" | "resync" | "fetch" | "reoffered" }
>;

/** Performs the effects that ask something of the relay and turns the answers into events. */
export class RelayActions {
  readonly #config: CoreConfig;
  readonly #ports: RunnerPorts;
  readonly #post: (event: Event) => void;
  /** True when the queue takes no more, as of the events posted so far. */
  readonly #full: () => boolean;
  /** Finds a message that was journaled, ended or not. */
  readonly #find: (key: string) => JournalRow | null;
  #acking: Promise<unknown> = Promise.resolve();
  /** The pages under way: what was offered so far, and whether they began with the first message. */
  #pass: { sinceId: number; fromStart: boolean } | null = null;

  constructor(
    config: CoreConfig,
    ports: RunnerPorts,
    post: (event: Event) => void,
    full: () => boolean,
    find: (key: string) => JournalRow | null,
  ) {
    this.#config = config;
    this.#ports = ports;
    this.#post = post;
    this.#full = full;
    this.#find = find;
  }

  /** Resolves when the markRead calls under way have been answered. */
  get settled(): Promise<unknown> {
    return this.#acking;
  }

  /** Sends one markRead for all acks of a batch. */
  acknowledge(effects: Effect[]): void {
    const keys: string[] = [];
    const ids: number[] = [];
    for (const effect of effects) {
      if (effect.type !== "ack") continue;
      keys.push(effect.key);
      ids.push(effect.messageId);
    }
    if (ids.length === 0) return;
    this.#acking = this.#ports.bus.markRead(ids).then((result) => {
      if (result.ok) this.#post({ type: "acked", keys });
      else this.#post({ type: "ack.failed", keys, reason: result.message });
    });
  }

  /** Performs one effect. */
  async perform(effect: RelayEffect): Promise<void> {
    const { bus, clock, log } = this.#ports;
    switch (effect.type) {
      case "claim":
      case "renew": {
        const { key } = effect;
        const renewal = effect.type === "renew";
        // The lease is counted from before the request: the relay cannot have started it earlier.
        const sent = { mono: clock.mono(), wall: clock.wall() };
        const result = await (renewal ? bus.renew(effect.messageId) : bus.claim(effect.messageId));
        if (result.ok) {
          // The monotonic clock stands still while the machine sleeps, the lease does not.
          const mono = clock.mono();
          const sentAt = mono - Math.max(mono - sent.mono, clock.wall() - sent.wall);
          return this.#post({ type: "claim.won", key, sentAt, leaseMs: result.value.leaseMs, renewal });
        }
        if (result.kind === "lost") {
          return this.#post({ type: "claim.lost", key, renewal });
        }
        if (result.kind === "rejected" && (result.status === 404 || result.status === 410)) {
          return this.#post({ type: "claim.lost", key, renewal });
        }
        return this.#post({ type: "claim.failed", key, reason: result.message, renewal });
      }
      case "release": {
        const result = await bus.release(effect.messageId);
        if (!result.ok) log.debug("release failed, the lease will lapse", { reason: result.message });
        return;
      }
      case "reply":
        return await this.#reply(effect);
      case "resync":
        return await this.#resync(effect.sinceId);
      case "fetch":
        return await this.#fetch(effect.key, effect.messageId);
      case "reoffered": {
        const row = this.#find(effect.key);
        if (row?.acked) await bus.markRead([effect.messageId]);
        return;
      }
    }
  }

  async #reply(effect: Extract<Effect, { type: "reply" }>): Promise<void> {
    const { message, key, deliveryId } = effect;
    const cut = effect.text.length > REPLY_LIMIT;
    const result = await this.#ports.bus.send({
      from: this.#config.agentId,
      to: message.from,
      replyTo: message.id,
      kind: "reply",
      body: cut ? effect.text.slice(0, REPLY_LIMIT) + "\n[cut]" : effect.text,
      idempotencyKey: `reply:${deliveryId}`,
    });
    if (result.ok) return this.#post({ type: "replied", key });
    const permanent = result.kind === "rejected";
    if (permanent) this.#ports.log.warn("the relay refused the reply", { reason: result.message });
    this.#post({ type: "reply.failed", key, reason: result.message, permanent });
  }

  /** Fetches every unread message; what is known already costs nothing. */
  async #resync(sinceId: number): Promise<void> {
    // One that is under way goes on from the lower of both.
    if (this.#pass !== null) {
      if (sinceId === 0) this.#pass.fromStart = true;
      this.#pass.sinceId = Math.min(this.#pass.sinceId, sinceId);
      return;
    }
    const pass = { sinceId, fromStart: sinceId === 0 };
    this.#pass = pass;
    let end: "reached" | "full" | CallFailure | null = null;
    try {
      end = await this.#pages(pass);
      if (end === "reached" && pass.fromStart) await this.#listDead();
    } finally {
      this.#pass = null;
      const through = pass.sinceId;
      if (typeof end === "string") this.#post({ type: "resynced", end, through });
      else this.#post({ type: "resynced", end: "failed", through, ...retryAfter(end) });
    }
  }

  async #pages(pass: { sinceId: number }): Promise<"reached" | "full" | CallFailure> {
    for (let limit = PAGE;;) {
      const { sinceId } = pass;
      const page = await this.#ports.http.listUnread(this.#config.agentId, { sinceId, limit });
      if (!page.ok) {
        const oversize = page.kind === "unknown" ? page.oversize : undefined;
        if (oversize !== undefined && limit > 1) {
          limit = Math.floor(limit / 2);
          continue;
        }
        const tooLarge = oversize?.firstId ?? sinceId;
        if (tooLarge <= sinceId) {
          this.#logFailure(page);
          return page;
        }
        await this.#passOver(tooLarge);
        if (pass.sinceId === sinceId) pass.sinceId = tooLarge;
        continue;
      }
      limit = Math.min(PAGE, 2 * limit);
      for (const message of page.value) this.#post({ type: "offered", message, paged: true });
      // A new connection may have asked for everything meanwhile.
      if (pass.sinceId !== sinceId) continue;
      // A page may be short of its limit because its texts are long: only an empty one is the end.
      if (page.value.length === 0) return "reached";
      pass.sinceId = page.value.at(-1)!.id;
      // By then what was posted has been stepped.
      await new Promise<void>((resolve) => this.#ports.afterReadyInput(resolve));
      if (this.#full()) return "full";
    }
  }

  /** A message that cannot be fetched keeps nothing behind it from the agent, and is not lost without a word. */
  async #passOver(messageId: number): Promise<void> {
    const { bus, clock, log } = this.#ports;
    log.warn("a message is too large to be fetched, the relay is told that it is dead", { messageId });
    const evidence = "the relay's answer with it is larger than 4 MiB";
    const { agentId } = this.#config;
    const told = await bus.reportStages([{ messageId, agentId, stage: "dead", at: clock.wall(), evidence }]);
    if (!told.ok) log.warn("the relay does not know that a message is dead", { reason: told.message });
  }

  /** Learns which dead letters the relay still knows; the others were dropped by a person. */
  async #listDead(): Promise<void> {
    const { http } = this.#ports;
    const listed = await http.listDead({ agentId: this.#config.agentId, limit: DEAD_PAGE });
    if (!listed.ok) return this.#ports.log.debug("cannot list dead letters", { reason: listed.message });
    const { letters, storeId } = listed.value;
    const through = letters.length < DEAD_PAGE ? Number.MAX_SAFE_INTEGER : letters.at(-1)!.messageId;
    this.#post({ type: "dead.listed", storeId, letters, through });
  }

  async #fetch(key: string, messageId: number): Promise<void> {
    const result = await this.#ports.http.getMessage(messageId);
    if (result.ok) {
      // A relay that began anew has another message under this number.
      const ours = keyOf(result.value.storeId, result.value.id) === key;
      return this.#post({ type: "fetched", key, message: ours ? result.value : null });
    }
    if (result.kind === "rejected" && (result.status === 404 || result.status === 410)) {
      return this.#post({ type: "fetched", key, message: null });
    }
    this.#post({ type: "fetch.failed", key, reason: result.message, ...retryAfter(result) });
  }

  #logFailure(failure: CallFailure): void {
    this.#ports.log.warn("cannot fetch unread messages, waiting for the relay to push them", {
      reason: failure.message,
    });
  }
}

/** When the relay wants to be asked again, if it said so. */
function retryAfter(failure: CallFailure | null): { retryAfterMs?: number } {
  return failure?.kind === "unavailable" && failure.retryAfterMs !== undefined
    ? { retryAfterMs: failure.retryAfterMs }
    : {};
}

/**
 * Tells the relay goodbye in the order its protocol wants, each step bounded, and closes the bus. What is not said by the
 * time that `hurried` resolves is left out.
 */
export async function finish(
  outcome: ExitOutcome,
  { ports, outbox, relay, hurried }: {
    ports: RunnerPorts;
    outbox: Outbox;
    relay: RelayActions;
    hurried: Promise<void>;
  },
): Promise<void> {
  const { bus, http, clock, journal, log } = ports;
  const goodbye = async () => {
    if (bus.transportState.state !== "registered") return;
    await relay.settled;
    await outbox.flush();
    const meta = { reason: endReason(outcome) };
    await bus.statusAsync({ agentStatus: "offline", ready: false, meta }, GOODBYE_MS);
    const agentId = bus.transportState.state === "registered" ? bus.transportState.registered.agentId : null;
    if (outcome.deregister && agentId !== null) await http.deleteAgent(agentId);
    if (outcome.cause.kind === "command") {
      const { commandId, action } = outcome.cause;
      const note = (phase: "ended" | "told") => {
        try {
          journal.write({ rows: [], commands: [{ commandId, type: action, phase, at: clock.wall() }] });
        } catch (error) {
          log.warn("the end of a command cannot be written", { commandId, error: messageOf(error) });
        }
      };
      note("ended");
      outbox.update({ commandId, status: "succeeded", result: { action, agentId } });
      await outbox.flush();
      // Otherwise the next run answers.
      if (outbox.empty) note("told");
    }
  };
  const { cause } = outcome;
  const hard = cause.kind === "signal" || (cause.kind === "command" && cause.action === "agent.kill");
  const said = Promise.race([goodbye().catch(() => {}), hurried]);
  await withDeadline(clock, hard ? HARD_GOODBYE_MS : GOODBYE_MS, said);
  await withDeadline(clock, CLOSE_MS, bus.close());
}
