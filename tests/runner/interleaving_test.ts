import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ProviderEvent } from "../../lib/providers/contract.ts";
import type { Effect, Event } from "../../lib/runner/core/types.ts";
import { CoreWorld, message, STORE } from "./core_world.ts";

const KEY = `${STORE}/1`;

/**
 * A core whose every question is answered, in whatever order the scheduler likes: claims, renewals, acks, the
 * provider's start and end, its turns. What the relay grants is kept as the relay would keep it.
 */
class Answers {
  readonly world = new CoreWorld();
  readonly #scheduler: fc.Scheduler;
  #answered = 0;
  #claimed = false;
  live = 0;
  most = 0;
  deliveredAfterRelease = 0;
  exits = 0;

  constructor(scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Lets an event happen when its turn comes. */
  later(label: string, event: () => Event | null): void {
    void this.#scheduler.schedule(Promise.resolve(label), label).then(() => {
      const happened = event();
      if (happened !== null) this.post(happened);
    });
  }

  post(event: Event): void {
    this.world.mono += 10;
    for (const effect of this.world.post(event)) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    // An agent that is restarted for ever would be answered for ever.
    if (++this.#answered > 500) return;
    switch (effect.type) {
      case "claim":
      case "renew": {
        // The relay sees calls in the order in which they were sent; only the answers take their time.
        this.#claimed = true;
        const sentAt = this.world.mono;
        return this.later(
          effect.type,
          () => ({ type: "claim.won", key: effect.key, sentAt, leaseMs: 60_000 }),
        );
      }
      case "release":
        this.#claimed = false;
        return;
      case "ack":
        return this.later("ack", () => ({ type: "acked", keys: [effect.key] }));
      case "spawn": {
        const { incarnation } = effect;
        this.live++;
        this.most = Math.max(this.most, this.live);
        return this.later("spawned", () => {
          this.post({ type: "spawned", incarnation });
          return { type: "provider", incarnation, event: { type: "ready", resume: "c" } };
        });
      }
      case "deliver": {
        if (effect.message.claimable && !this.#claimed) this.deliveredAfterRelease++;
        const { incarnation, deliveryId } = effect;
        return this.later("turn", () => {
          const evidence = { type: "evidence", deliveryId, stage: "seen", evidence: "s" } as const;
          this.post({ type: "provider", incarnation, event: evidence });
          const done: ProviderEvent = { type: "done", deliveryIds: [deliveryId], text: "", evidence: "d" };
          return { type: "provider", incarnation, event: done };
        });
      }
      case "stop-provider": {
        const { provider } = this.world.state;
        if (!("incarnation" in provider)) return;
        const { incarnation } = provider;
        return this.later("exited", () => {
          const now = this.world.state.provider;
          if (!("incarnation" in now) || now.incarnation !== incarnation) return null;
          this.live--;
          return { type: "exited", incarnation, status: { code: 0, signal: null } };
        });
      }
      case "exit":
        this.exits++;
        return;
    }
  }
}

function restart(commandId: string): Event {
  const record = {
    id: commandId,
    type: "agent.restart",
    target: "",
    params: {},
    status: "pending" as const,
    createdAt: 0,
    updatedAt: 0,
  };
  const target = new CoreWorld().state.config.agentId;
  return {
    type: "command",
    command: { commandId, commandType: "agent.restart", target, params: {}, command: record },
  };
}

Deno.test("drain, claim, renewal, ack, restart and stop come right in any order, 5,000 schedules", async () => {
  const reached = { delivered: 0, released: 0, restarted: 0 };
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.boolean(), fc.boolean(), async (scheduler, claimable, twice) => {
      runs++;
      const answers = new Answers(scheduler);
      const { world } = answers;
      answers.post({ type: "start" });
      answers.later("up", () => ({ type: "bus.up", storeId: STORE }));
      answers.later("mail", () => ({ type: "offered", message: message(1, { claimable }) }));
      answers.later("more mail", () => ({ type: "offered", message: message(2, { claimable: !claimable }) }));
      answers.later("restart", () => restart("c1"));
      answers.later("time", () => {
        // Past a third of the lease, so that it is renewed.
        world.mono += 25_000;
        return { type: "tick" };
      });
      answers.later("signal", () => ({ type: "signal", signal: "SIGTERM" }));
      if (twice) answers.later("signal again", () => ({ type: "signal", signal: "SIGTERM" }));
      await scheduler.waitIdle();
      // Whatever the order: the drain's time passes, and the end comes.
      world.mono += 40_000;
      answers.post({ type: "tick" });
      await scheduler.waitIdle();
      assertEquals(answers.exits, 1, "the run ends once");
      assertEquals(answers.live, 0, "no provider is left");
      assert(answers.most <= 1, `${answers.most} providers at once`);
      assertEquals(answers.deliveredAfterRelease, 0, "nothing is delivered without its claim");
      const acked = world.of("ack").map((effect) => effect.messageId);
      const seen = new Set(
        world.of("persist").filter(({ row }) => ["seen", "done"].includes(row.state.state)).map(({ row }) =>
          row.messageId
        ),
      );
      for (const id of acked) assert(seen.has(id), `${id} is acked unseen`);
      if (world.of("deliver").some((effect) => effect.key === KEY)) reached.delivered++;
      if (world.of("release").length > 0) reached.released++;
      if (world.of("spawn").length > 1) reached.restarted++;
    }),
    { numRuns: 5_000, verbose: 1 },
  );
  assert(runs >= 5_000, `${runs} schedules`);
  for (const [what, count] of Object.entries(reached)) assert(count >= 50, `${what} only ${count} times`);
});
