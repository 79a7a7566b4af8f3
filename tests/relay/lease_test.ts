import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { httpOf, ShiftedClock, TestAgent, testRelay } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

/** A clock whose wall time somebody sets. */
class SetClock extends ShiftedClock {
  override mono = () => systemClock.mono();
}

/** Two agents and work that the first of them holds. */
async function withWork(
  leaseMs: number,
  work: (world: {
    clock: SetClock;
    a: TestAgent;
    b: TestAgent;
    id: number;
    /** Resolves after the relay has swept out what the wall clock ends. */
    swept(): Promise<void>;
    restart(): Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const clock = new SetClock();
    let relay = await testRelay(dir, { clock, leaseMs });
    const { port } = relay;
    const a = await new TestAgent(relay.url, "a").join();
    const b = await new TestAgent(relay.url, "b").join();
    const sent = await httpOf(relay).send({ from: "s", to: "tag:test", body: "work", claimable: true });
    assert(sent.ok);
    const { id } = sent.value.message;
    assertEquals((await a.bus.claim(id)).ok, true);
    await work({
      clock,
      a,
      b,
      id,
      swept: async () => {
        const late = await httpOf(relay).send({
          from: "s",
          to: "nobody",
          queue: true,
          body: "late",
          ttlMs: 1_000,
        });
        assert(late.ok);
        clock.shiftMs += 2_000;
        await until("the sweep", async () => {
          const receipt = await httpOf(relay).receipt(late.value.message.id);
          return receipt.ok && receipt.value.recipients[0]!.reports.some(({ stage }) => stage === "expired");
        });
      },
      restart: async () => {
        await relay.stop();
        relay = await testRelay(dir, { clock, leaseMs, port });
        for (const agent of [a, b]) {
          const registered = () => agent.states.filter(({ state }) => state === "registered").length === 2;
          await until("both again", registered);
        }
      },
    });
    for (const each of [a, b]) await each.bus.close();
    await relay.stop();
  });
}

const untilOver = (b: TestAgent, id: number) =>
  until("the end of the lease", async () => (await b.bus.claim(id)).ok);

Deno.test("a wall clock that is set ahead ends no lease: who holds the work does it", async () => {
  await withWork(60_000, async ({ clock, a, b, id, swept }) => {
    clock.shiftMs += 70_000;
    assertEquals(await b.bus.claim(id), { ok: false, kind: "lost" });
    await swept();
    assertEquals(await b.bus.claim(id), { ok: false, kind: "lost" });
    assertEquals((await b.bus.markRead([id])).ok, false);
    assertEquals((await a.bus.renew(id)).ok, true);
    assertEquals((await a.bus.markRead([id])).ok, true);
    assertEquals(b.messages.length, 1, "it is not offered again");
  });
});

Deno.test("a wall clock that is set back prolongs no lease, and none for longer than its length over a restart", async () => {
  await withWork(1_500, async ({ clock, a, b, id, restart }) => {
    clock.shiftMs -= 3_600_000;
    await untilOver(b, id);
    assertEquals(await a.bus.renew(id), { ok: false, kind: "lost" });
    clock.shiftMs -= 3_600_000;
    await restart();
    await untilOver(a, id);
    assertEquals(await b.bus.renew(id), { ok: false, kind: "lost" });
  });
});

Deno.test("a lease lives over a restart of the relay, and ends once it is given back", async () => {
  await withWork(60_000, async ({ a, b, id, restart }) => {
    await restart();
    assertEquals(await b.bus.claim(id), { ok: false, kind: "lost" });
    assertEquals((await a.bus.renew(id)).ok, true);
    assertEquals((await a.bus.release(id)).ok, true);
    assertEquals((await b.bus.claim(id)).ok, true);
    assertEquals(await a.bus.claim(id), { ok: false, kind: "lost" });
  });
});

Deno.test("of two agents that claim at once one holds the work, also where an earlier lease has just run out", async () => {
  await withWork(300, async ({ a, b, id }) => {
    for (let round = 0; round < 6; round++) {
      const both = await Promise.all([a, b].map((agent) => agent.bus.claim(id)));
      assert(both.filter(({ ok }) => ok).length <= 1, `round ${round}`);
      await new Promise((resolve) => setTimeout(resolve, 310));
    }
  });
});
