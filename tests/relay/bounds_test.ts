import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "../support/fake_clock.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { obliging, ScriptedAgent } from "../support/scripted_agent.ts";
import { until, withTempDir } from "../support/temp.ts";
import { api, Component, registration } from "./component.ts";

const LARGE = "x".repeat(900_000);

Deno.test("a socket that does not register in 10 s is closed, and one that did is not", async () => {
  await withTempDir(async (dir) => {
    const clock = new FakeClock(Date.now());
    const relay = await testRelay(dir, { clock });
    const silent = await Component.open(relay, TOKEN);
    const registered = await Component.open(relay, TOKEN);
    assertEquals(await registered.say("register", registration("a")), "ok");
    await clock.advance(9_999);
    assertEquals(await registered.say("heartbeat", { status: "idle" }), "ok");
    assertEquals(silent.readyState, WebSocket.OPEN);
    await clock.advance(1);
    const { code, reason } = await silent.closed;
    assertEquals([code, reason], [4400, "no registration"]);
    assertEquals(await registered.say("heartbeat", { status: "idle" }), "ok");
    await registered.close();
    await relay.stop();
  });
});

Deno.test("a client with more unanswered frames than the bound is dropped, and what it asked is done", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const component = await Component.open(relay, TOKEN);
    assertEquals(await component.say("register", registration("a")), "ok");
    const frame = (i: number) => ({ type: "message.send", payload: { from: "a", to: "a", body: `${i}` } });
    const many = JSON.stringify(Array.from({ length: 4_096 }, (_, i) => frame(i)));
    // As many as one text and the bound have room for, and one more. No frame has an answer before the commit, which waits
    // for what is there to be read: most of the time that one is.
    let sentAt = -Infinity;
    await until("the end of the socket", () => {
      if (component.readyState !== WebSocket.OPEN) return true;
      if (performance.now() < sentAt + 3_000) return false;
      sentAt = performance.now();
      component.raw(many);
      component.raw(JSON.stringify(frame(4_096)));
      return false;
    });
    const { code } = await component.closed;
    assertEquals(code, 1013);
    await until("what was taken", async () => {
      const last = await http.getMessage(4_096);
      return last.ok && last.value.body === "4095";
    });
    await relay.stop();
  });
});

Deno.test("every message that is taken can be pushed, fetched and paged, and what could not be is refused", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    const extra = { payload: { text: "€".repeat(80_000) }, meta: { text: "\u0001".repeat(47_000) } };
    const send = async (body: string, more: object = {}) => {
      const answer = await api(relay, "POST", "/messages", TOKEN, {
        from: "person",
        to: "a",
        body,
        ...extra,
        ...more,
      });
      const { error } = await answer.json() as { error?: string };
      return error ?? "ok";
    };
    const bodies = [
      "\u0001".repeat(524_000),
      "€".repeat(1_048_000),
      "\0😀".repeat(314_000),
      "x".repeat(1_048_576),
    ];
    for (const body of bodies) assertEquals(await send(body), "ok");
    await until("all of them", () => agent.messages.length >= bodies.length);
    assertEquals(agent.messages.map(({ body }) => bodies.indexOf(body)), [0, 1, 2, 3]);
    assertEquals(agent.bus.badFrames, 0);
    for (const sinceId of [0, 1, 2, 3]) {
      const page = await http.listUnread("a", { sinceId });
      assertEquals(page.ok && page.value[0]?.body === bodies[sinceId], true, page.ok ? "" : page.message);
      const one = await http.getMessage(sinceId + 1);
      assertEquals(one.ok && one.value.body === bodies[sinceId], true, one.ok ? "" : one.message);
    }
    const tooLarge = "body larger than 3145728 bytes of JSON";
    assertEquals(await send("\u0001".repeat(524_300), { payload: undefined }), tooLarge);
    assertEquals(await send("\u0001€".repeat(360_000), { payload: undefined, meta: undefined }), tooLarge);
    assertEquals(await send("x".repeat(1_048_577)), "body larger than 1048576 characters");
    const tooMuch = "payload and meta larger than 524288 bytes of JSON";
    assertEquals(await send("x", { payload: { text: "€".repeat(81_000) } }), tooMuch);
    await agent.bus.close();
    await relay.stop();
  });
});

Deno.test("a client that acks nothing is pushed 2 MiB and no more, and gets the rest as it acks", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const socket = new WebSocket(`${relay.url.replace("http", "ws")}/bus`, {
      headers: { "x-agent-relay-token": TOKEN },
    });
    const pushed: string[] = [];
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data as string) as { type: string; id: string };
      if (frame.type === "event") pushed.push(frame.id);
    };
    await new Promise((resolve) => socket.onopen = resolve);
    const registration = {
      role: "provider",
      componentId: "mute",
      agentId: "mute",
      instanceId: "i",
      capabilities: [],
      tags: [],
      machine: "m",
      meta: {},
    };
    socket.send(JSON.stringify({ type: "register", id: "1", payload: registration }));
    await until("its registration", async () => (await http.getAgent("mute")).ok);
    for (let i = 0; i < 12; i++) assert((await http.send({ from: "a", to: "mute", body: LARGE })).ok);
    await until("the first pushes", () => pushed.length >= 3);
    // Nothing else can come now: a thirteenth send is answered after whatever its predecessors caused.
    assert((await http.send({ from: "a", to: "mute", body: "last" })).ok);
    assertEquals(pushed, ["evt-1", "evt-2", "evt-3"]);
    for (let acked = 0; acked < 13; acked++) {
      await until(`push ${acked + 1}`, () => pushed.length > acked);
      assert(pushed.length <= acked + 4, `${pushed.length} pushed, ${acked} acked`);
      socket.send(JSON.stringify({ type: "ack", payload: { frameId: pushed[acked] } }));
    }
    assertEquals(pushed.length, 13);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
    await relay.stop();
  });
});

Deno.test("a queue beyond its bytes and its number of messages is done whole and in order, over a dropped bus", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const agent = new ScriptedAgent(relay.url, dir, {
      agentId: "small",
      maxQueue: 20,
      maxBodyBytes: 20_000,
      script: () => [],
    }).start();
    try {
      await until("the agent", () => agent.runner.view().bus === "up");
      const bodies = Array.from({ length: 120 }, (_, i) => `${i} `.padEnd(3_000, "x"));
      for (const body of bodies) assert((await http.send({ from: "a", to: "small", body })).ok);
      await until("a full queue", () => agent.runner.view().queued === 20);
      // It goes on with a crash and without its bus in between.
      agent.script = obliging;
      await agent.crash();
      agent.start();
      for (const part of [30, 60, 90]) {
        await until(`${part} deliveries`, () => agent.deliveries.length >= part);
        agent.bus.reconnect("test");
      }
      await until("the end", async () => {
        const unread = await http.listUnread("small");
        return unread.ok && unread.value.length === 0;
      }, 60_000);
      const texts = agent.deliveries.map((delivery) => delivery.text);
      // The one that was in hand at the crash is handed over again, with the same identity.
      assertEquals(texts.slice(texts.length - 120), bodies);
      assertEquals(new Set(agent.deliveries.map((delivery) => delivery.deliveryId)).size, 120);
      assert(agent.deliveries.length <= 121);
      assertEquals(agent.runner.view().queued, 0);
    } finally {
      await agent.stop();
      await relay.stop();
    }
  });
});

Deno.test("an agent whose queue is full is not pushed what it would have to leave, and gets all of it in order", async () => {
  const MESSAGES = 700;
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const agent = new ScriptedAgent(relay.url, dir, { agentId: "small", maxQueue: 20, script: () => [] })
      .start();
    try {
      let pushed = 0;
      const { runner } = agent;
      const onMessage = runner.onMessage.bind(runner);
      runner.onMessage = (message) => {
        pushed++;
        onMessage(message);
      };
      await until("the agent", () => runner.view().bus === "up");
      const send = async (body: string) => assert((await http.send({ from: "a", to: "small", body })).ok);
      for (let i = 0; i < MESSAGES; i++) await send(`${i}`);
      await until("a full queue", () => runner.view().queued === 20);
      // What the relay pushes without an ack, beside what was taken.
      assert(pushed <= 20 + 2 * 256, `${pushed} of ${MESSAGES} were pushed`);
      agent.script = obliging;
      const { deliveryId } = agent.deliveries[0]!;
      agent.emit({ type: "evidence", deliveryId, stage: "seen", evidence: "e" });
      agent.emit({ type: "done", deliveryIds: [deliveryId], text: "", evidence: "e" });
      await until("the end", () => agent.deliveries.length >= MESSAGES && runner.view().queued === 0, 60_000);
      // Pushes are taken again.
      await send("last");
      await until("the last one", () => agent.deliveries.length > MESSAGES);
      const bodies = agent.deliveries.map(({ text }) => text);
      assertEquals(bodies, [...Array.from({ length: MESSAGES }, (_, i) => `${i}`), "last"]);
    } finally {
      await agent.stop();
      await relay.stop();
    }
  });
});

Deno.test("a receipt becomes complete although the relay was away and the runner crashed before it could tell", async () => {
  await withTempDir(async (dir) => {
    let relay = await testRelay(dir);
    const { port } = relay;
    const agent = new ScriptedAgent(relay.url, dir, {
      agentId: "worker",
      script: ({ deliveryId }) => [{ type: "evidence", deliveryId, stage: "placed", evidence: "taken" }],
    }).start();
    try {
      await until("the agent", () => agent.runner.view().bus === "up");
      assert((await httpOf(relay).send({ from: "a", to: "worker", body: "x" })).ok);
      await until("the delivery", () => agent.deliveries.length === 1);
      await relay.stop();
      await until("the loss of the relay", () => agent.runner.view().bus === "down");
      const { deliveryId } = agent.deliveries[0]!;
      agent.emit({ type: "evidence", deliveryId, stage: "seen", evidence: "answering" });
      agent.emit({ type: "done", deliveryIds: [deliveryId], text: "", evidence: "answered" });
      await until("the journal to know", () => agent.journal.load().open[0]?.state.state === "done");
      await agent.crash();
      relay = await testRelay(dir, { port });
      agent.start();
      const stages = async () => {
        const receipt = await httpOf(relay).receipt(1);
        return receipt.ok ? receipt.value.recipients[0]!.reports.map((report) => report.stage) : [];
      };
      await until("the ack", async () => (await stages()).includes("acked"));
      const told = await stages();
      assertEquals(told.filter((stage) => stage === "received").length, 1);
      assert(told.includes("seen") && told.includes("done"), told.join());
      assertEquals(agent.deliveries.length, 1);
    } finally {
      await agent.stop();
      await relay.stop();
    }
  });
});
