import { withDeadline } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { CallFailure } from "../sdk/contract.ts";
import type { CoreConfig, Effect, Event, ExitOutcome } from "./core/types.ts";
import type { Outbox } from "./outbox.ts";
import type { RunnerPorts } from "./ports.ts";

/** Longest time the goodbye to the relay may take in all. */
const GOODBYE_MS = 2_000;
/** The same for a hard end, all of which has 2 s. */
const HARD_GOODBYE_MS = 500;
/** A peer that does not close its side is left. */
const CLOSE_MS = 300;
const PAGE = 200;
/** A reply beyond this is cut; the relay refuses bodies over 1 MiB. */
const REPLY_LIMIT = 500_000;

type RelayEffect = Extract<
  Effect,
  { type: "claim" | "renew" | "release" | "reply" | "resync" | "reoffered" }
>;

/** Performs the effects that ask something of the relay and turns the answers into events. */
export class RelayActions {
  readonly #config: CoreConfig;
  readonly #ports: RunnerPorts;
  readonly #post: (event: Event) => void;
  #acking: Promise<unknown> = Promise.resolve();
  #resyncing = false;

  constructor(config: CoreConfig, ports: RunnerPorts, post: (event: Event) => void) {
    this.#config = config;
    this.#ports = ports;
    this.#post = post;
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
        // The lease is counted from before the request: the relay cannot have started it earlier.
        const sentAt = clock.mono();
        const result =
          await (effect.type === "claim" ? bus.claim(effect.messageId) : bus.renew(effect.messageId));
        if (result.ok) {
          return this.#post({ type: "claim.won", key, sentAt, leaseMs: result.value.leaseMs });
        }
        if (result.kind === "lost") {
          return this.#post({
            type: "claim.lost",
            key,
            ...(result.holder === undefined ? {} : { holder: result.holder }),
          });
        }
        if (result.kind === "rejected" && (result.status === 404 || result.status === 410)) {
          return this.#post({ type: "claim.lost", key });
        }
        return this.#post({ type: "claim.failed", key, reason: result.message });
      }
      case "release": {
        const result = await bus.release(effect.messageId);
        if (!result.ok) log.debug("release failed, the lease will lapse", { reason: result.message });
        return;
      }
      case "reply":
        return await this.#reply(effect);
      case "resync":
        return await this.#resync();
      case "reoffered": {
        const row = this.#ports.journal.find(effect.key);
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
  async #resync(): Promise<void> {
    if (this.#resyncing) return;
    this.#resyncing = true;
    try {
      let sinceId = 0;
      for (;;) {
        const page = await this.#ports.http.listUnread(this.#config.agentId, { sinceId, limit: PAGE });
        if (!page.ok) {
          this.#logFailure(page);
          return this.#post({ type: "resync.failed" });
        }
        for (const message of page.value) {
          this.#post({ type: "offered", message });
          sinceId = Math.max(sinceId, message.id);
        }
        if (page.value.length < PAGE) return;
      }
    } finally {
      this.#resyncing = false;
    }
  }

  #logFailure(failure: CallFailure): void {
    this.#ports.log.warn("cannot fetch unread messages, trying again", {
      reason: failure.message,
    });
  }
}

/** Tells the relay goodbye in the order its protocol wants, each step bounded, and closes the bus. */
export async function finish(
  outcome: ExitOutcome,
  ports: RunnerPorts,
  outbox: Outbox,
  relay: RelayActions,
): Promise<void> {
  const { bus, http, clock, journal, log } = ports;
  const goodbye = async () => {
    if (bus.transportState.state !== "registered") return;
    await relay.settled;
    await outbox.flush();
    await bus.statusAsync({ agentStatus: "offline", ready: false }, GOODBYE_MS);
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
  await withDeadline(clock, hard ? HARD_GOODBYE_MS : GOODBYE_MS, goodbye().catch(() => {}));
  await withDeadline(clock, CLOSE_MS, bus.close());
}
