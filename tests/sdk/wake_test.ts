import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import type { TransportState } from "../../lib/sdk/contract.ts";
import { RelayBusClient } from "../../lib/sdk/mod.ts";
import { watchWake } from "../../lib/sdk/wake.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { testRelay, TOKEN } from "../support/relay_world.ts";
import { ToxicProxy } from "../support/toxic_proxy.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("watchWake() tells once of a wall clock that went ahead of the monotonic one, and of nothing else", async () => {
  const time = new FakeClock();
  let shift = 0;
  let woke = 0;
  const clock = {
    wall: () => time.wall() + shift,
    mono: time.mono,
    setTimer: (delayMs: number, callback: () => void) => time.setTimer(delayMs, callback),
  };
  const stop = watchWake(clock, () => woke++);
  await time.advance(60_000);
  assertEquals(woke, 0);
  shift += 5_000;
  await time.advance(4_000);
  assertEquals(woke, 0, "what an adjustment of the clock may be");
  shift += 60_000;
  await time.advance(4_000);
  assertEquals(woke, 1);
  await time.advance(60_000);
  shift -= 3_600_000;
  await time.advance(60_000);
  assertEquals(woke, 1);
  shift += 60_000;
  await time.advance(4_000);
  assertEquals([woke, time.pending], [2, 1]);
  stop();
  stop();
  assertEquals(time.pending, 0);
});

Deno.test("after a wake the bus asks at once whether its relay is there, and leaves one that is not", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const line = new ToxicProxy(Number(new URL(relay.url).port), Math.random);
    let shift = 0;
    // Ten times as fast, so that heartbeats are not due within the test.
    const clock = {
      wall: () => systemClock.wall() + shift,
      mono: systemClock.mono,
      setTimer: (ms: number, callback: () => void) =>
        systemClock.setTimer(ms < 6_000 ? ms / 10 : ms, callback),
    };
    const states: TransportState[] = [];
    let woke = 0;
    const bus = new RelayBusClient({
      url: `http://127.0.0.1:${line.port}`,
      token: TOKEN,
      registration: {
        role: "provider",
        componentId: "a",
        instanceId: "i",
        capabilities: [],
        tags: [],
        machine: "m",
        meta: {},
      },
      events: { state: (state) => states.push(state), woke: () => woke++ },
      clock,
      random: () => 0.5,
      log: noLog,
    });
    bus.connect();
    await until("its registration", () => bus.transportState.state === "registered");
    shift += 60_000;
    await until("the wake", () => woke === 1);
    // A relay that answers is kept.
    await new Promise((resolve) => setTimeout(resolve, 700));
    assertEquals(bus.transportState.state, "registered");

    line.set({ kind: "timeout" });
    const slept = performance.now();
    shift += 60_000;
    await until("the end of the link", () => bus.transportState.state === "waiting");
    const last = states.findLast(({ state }) => state === "waiting");
    assert(last?.state === "waiting");
    assertEquals(last.reason, { kind: "dead-peer", message: "no answer after a wake from sleep" });
    assert(performance.now() - slept < 8_000, "a heartbeat that is due after 15 s found it");
    assertEquals(woke, 2);
    await bus.close();
    await line.close();
    await relay.stop();
  });
});
