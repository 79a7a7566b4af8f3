import { assertEquals } from "@std/assert";
import { FakeClock } from "../support/fake_clock.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("of statuses that follow each other at once the first and the last are told, the last one always", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const clock = new FakeClock();
    const agent = await new TestAgent(relay.url, "a", { clock }).join();
    const response = await fetch(`${relay.url}/api/events`, { headers: { "x-agent-relay-token": TOKEN } });
    const text = response.text();
    const http = httpOf(relay);
    const untilQueued = (queued: number) =>
      until(`status ${queued}`, async () => {
        const card = await http.getAgent("a");
        return card.ok && card.value.meta?.queued === queued;
      });
    // Long enough after the status of the registration that the first of these goes out at once.
    await clock.advance(50);
    for (let queued = 1; queued <= 10; queued++) {
      agent.bus.setStatus({ agentStatus: "busy", ready: true, meta: { queued } });
    }
    await untilQueued(1);
    await clock.advance(20);
    await untilQueued(10);
    agent.bus.setStatus({ agentStatus: "idle", ready: true, meta: { queued: 11 } });
    // A status that is waited for is the newest, whatever was said just before.
    assertEquals(
      await agent.bus.statusAsync({ agentStatus: "idle", ready: true, meta: { queued: 12 } }),
      true,
    );
    await clock.advance(50);
    await untilQueued(12);
    await agent.bus.close();
    await relay.stop();
    const told = [...(await text).matchAll(/event: agent\.status\ndata: (.*)/g)]
      .map(([, data]) => (JSON.parse(data!) as { meta: { queued: number } }).meta.queued);
    assertEquals(told.filter((queued) => queued === 1 || queued === 10 || queued === 12), [1, 10, 12]);
    assertEquals(told.some((queued) => queued > 1 && queued < 10), false);
    assertEquals(told.at(-1), 12);
  });
});
