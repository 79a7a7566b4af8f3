import { assert, assertEquals } from "@std/assert";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { busUrl } from "../../lib/sdk/url.ts";
import { TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { ToxicProxy } from "../support/toxic_proxy.ts";
import { freePort, until, withTempDir } from "../support/temp.ts";

Deno.test("busUrl keeps the path prefix and never drops TLS", () => {
  assertEquals(busUrl("http://127.0.0.1:4850"), "ws://127.0.0.1:4850/bus");
  assertEquals(busUrl("https://relay.example/base/"), "wss://relay.example/base/bus");
  assertEquals(busUrl("wss://relay.example?x=1"), "wss://relay.example/bus");
});

Deno.test("the bus connects again when the relay comes back, and gets what it missed", async () => {
  await withTempDir(async (dir) => {
    const port = freePort();
    const first = await testRelay(dir, { port });
    const agent = await new TestAgent(first.url, "a").join();
    await first.stop();
    await until("the loss", () => agent.bus.transportState.state === "waiting");
    assertEquals((await agent.bus.claim(1)).ok, false);
    const second = await testRelay(dir, { port });
    await until("the reconnect", () => agent.bus.transportState.state === "registered");
    const other = await new TestAgent(second.url, "b").join();
    await other.bus.send({ from: "b", to: "a", body: "after" });
    await agent.untilGot("after");
    for (const each of [agent, other]) await each.bus.close();
    await second.stop();
  });
});

Deno.test("a paused bus has said its last status, dials no more, and is back with its own one when it connects", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const agent = await new TestAgent(relay.url, "a").join();
    agent.bus.setStatus({ agentStatus: "busy", ready: true });
    const http = new RelayHttpClient({ url: relay.url, token: TOKEN });
    const card = async () => {
      const listed = await http.listAgents();
      const found = listed.ok ? listed.value[0] : undefined;
      return [found?.status, found?.ready, found?.meta?.reason];
    };
    await until("its status", async () => (await card())[0] === "busy");
    await agent.bus.pause({ agentStatus: "stale", ready: false, meta: { reason: "suspended" } });
    assertEquals(await card(), ["stale", false, "suspended"]);
    // Nothing is under way: a timer that was left would be an open resource of this test, a dial another state.
    const states = agent.states.length;
    assertEquals([agent.bus.transportState.state, (await agent.bus.claim(1)).ok], ["waiting", false]);
    agent.bus.connect();
    await until("the reconnect", () => agent.bus.transportState.state === "registered");
    assertEquals(agent.states.slice(states).map(({ state }) => state), ["connecting", "registered"]);
    await until("its status", async () => (await card())[0] === "busy");
    // Whoever comes back while it is still closing is back.
    const pausing = agent.bus.pause({ agentStatus: "stale", ready: false });
    agent.bus.connect();
    await pausing;
    await until("the reconnect", () => agent.bus.transportState.state === "registered");
    await until("its status", async () => (await card())[0] === "busy");
    await agent.bus.pause({ agentStatus: "stale", ready: false });
    await agent.bus.close();
    await relay.stop();
  });
});

Deno.test("a refused token is told apart from a network failure and retried slowly", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const wrong = new TestAgent(relay.url, "a", { token: "wrong" });
    wrong.bus.connect();
    await until("the refusal", () => wrong.bus.transportState.state === "waiting");
    const refused = wrong.bus.transportState;
    assert(refused.state === "waiting" && refused.reason.kind === "auth" && refused.delayMs >= 30_000);
    const nowhere = new TestAgent(`http://127.0.0.1:${freePort()}`, "a");
    nowhere.bus.connect();
    await until("the failure", () => nowhere.bus.transportState.state === "waiting");
    const failed = nowhere.bus.transportState;
    assert(failed.state === "waiting" && failed.reason.kind === "network" && failed.delayMs < 1_000);
    for (const each of [wrong, nowhere]) await each.bus.close();
    await relay.stop();
  });
});

/** Serves a relay of a few lines: `answer` gives the payload of the ack to each registration. */
function fakeRelay(answer: (registration: number) => Record<string, unknown>): Deno.HttpServer<Deno.NetAddr> {
  let registrations = 0;
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data) as { type: string; id: string };
      if (frame.type !== "register") return;
      const payload = { frameId: frame.id, ok: true, ...answer(++registrations) };
      socket.send(JSON.stringify({ type: "ack", id: frame.id, payload }));
    };
    return response;
  });
}

Deno.test("a relay that cannot be heard any more is a dead peer, and says so although it answers no close", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const line = new ToxicProxy(Number(new URL(relay.url).port), Math.random);
    const agent = new TestAgent(`http://127.0.0.1:${line.port}`, "a", { heartbeatIntervalMs: 50 });
    await agent.join();
    line.set({ kind: "timeout" });
    const reason = () => {
      const waiting = agent.states.find((state) => state.state === "waiting");
      return waiting?.state === "waiting" ? waiting.reason : null;
    };
    await until("the end of the link", () => reason() !== null);
    assertEquals(reason(), { kind: "dead-peer", message: "no answer to heartbeats" });
    await agent.bus.close();
    await line.close();
    await relay.stop();
  });
});

Deno.test("a registration whose answer says no store is none, and is tried again", async () => {
  const server = fakeRelay((n) =>
    n === 1 ? { agentId: "a" } : { agentId: "a", storeId: "s", epoch: 1, cursor: 0 }
  );
  const agent = new TestAgent(`http://127.0.0.1:${server.addr.port}`, "a");
  agent.bus.connect();
  await until("the second try", () => agent.bus.transportState.state === "registered");
  const waiting = agent.states.find((state) => state.state === "waiting");
  assertEquals(waiting?.state === "waiting" ? waiting.reason.kind : null, "protocol");
  await agent.bus.close();
  await server.shutdown();
});

Deno.test("frames that make no sense are dropped and counted, and too many of them end the link", async () => {
  let sockets = 0;
  const frames = [
    "",
    "null",
    "[]",
    "{",
    '"x"',
    '{"type":1}',
    '{"type":"event","payload":{}}',
    "[".repeat(100_000),
  ];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    sockets++;
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data) as { type: string; id: string };
      if (frame.type !== "register") return;
      const payload = { frameId: frame.id, ok: true, agentId: "a", storeId: "s", epoch: 1, cursor: 0 };
      socket.send(JSON.stringify({ type: "ack", id: frame.id, payload }));
      for (let round = 0; round < (sockets === 1 ? 1 : 4); round++) {
        for (const each of frames) socket.send(each);
      }
      const message = { id: 7, storeId: "s", from: "x", to: "a", body: "still here" };
      socket.send(
        JSON.stringify({
          type: "event",
          id: "evt-7",
          payload: { seq: 7, event: "message.new", data: message },
        }),
      );
    };
    return response;
  });
  const agent = new TestAgent(`http://127.0.0.1:${server.addr.port}`, "a");
  agent.bus.connect();
  await agent.untilGot("still here");
  agent.bus.reconnect("test");
  await until(
    "the end of the second link",
    () => agent.states.some((state) => state.state === "waiting" && state.reason.kind === "protocol"),
  );
  await agent.bus.close();
  await server.shutdown();
});

Deno.test("close settles every pending call and ends within its time against a peer that does not answer", async () => {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data) as { type: string; id: string };
      if (frame.type === "register") {
        const payload = { frameId: frame.id, ok: true, agentId: "a", storeId: "s", epoch: 1, cursor: 0 };
        socket.send(JSON.stringify({ type: "ack", id: frame.id, payload }));
      }
    };
    return response;
  });
  const agent = new TestAgent(`http://127.0.0.1:${server.addr.port}`, "a");
  agent.bus.connect();
  await until("registration", () => agent.bus.transportState.state === "registered");
  const pending = [
    agent.bus.claim(1),
    agent.bus.markRead([1]),
    agent.bus.send({ from: "a", to: "b", body: "x" }),
  ];
  await agent.bus.close();
  for (const result of await Promise.all(pending)) assertEquals(result.ok, false);
  await server.shutdown();
});

Deno.test("no frame of the client goes out unanswered, so that none is held back behind it; many acks share two answers", async () => {
  const got: { type: string; id?: string; frameId?: string }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = (event) => {
      const frame = JSON.parse(event.data) as {
        type: string;
        id?: string;
        payload: { frameId?: string };
      };
      got.push({ ...frame, ...frame.payload });
      if (frame.type !== "register") return;
      const payload = { frameId: frame.id, ok: true, agentId: "a", storeId: "s", epoch: 1, cursor: 0 };
      socket.send(JSON.stringify({ type: "ack", id: frame.id, payload }));
      for (let id = 1; id <= 50; id++) {
        const message = { id, storeId: "s", from: "x", to: "a", body: `push ${id}` };
        const pushed = { seq: id, event: "message.new", data: message };
        socket.send(JSON.stringify({ type: "event", id: `evt-${id}`, payload: pushed }));
      }
    };
    return response;
  });
  const agent = new TestAgent(`http://127.0.0.1:${server.addr.port}`, "a");
  agent.bus.connect();
  const acks = () => got.filter(({ type }) => type === "ack");
  await until("every ack", () => acks().length === 50);
  assertEquals(acks().map(({ frameId }) => frameId), Array.from({ length: 50 }, (_, i) => `evt-${i + 1}`));
  assert(acks()[0]!.id !== undefined && acks().at(-1)!.id !== undefined);
  assert(acks().some(({ id }) => id === undefined), "each ack asked for an answer of its own");
  agent.bus.setStatus({ agentStatus: "busy" });
  await until("the status", () => got.some(({ type }) => type === "status"));
  assert(got.find(({ type }) => type === "status")!.id !== undefined);
  await agent.bus.close();
  await server.shutdown();
});

Deno.test("the ack of a push goes along with what is said next, and by itself when nothing is", async () => {
  const texts: { type: string; payload: { frameId?: string } }[][] = [];
  let push = (_id: number) => {};
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    push = (id) => {
      const message = { id, storeId: "s", from: "x", to: "a", body: `push ${id}` };
      const payload = { seq: id, event: "message.new", data: message };
      socket.send(JSON.stringify({ type: "event", id: `evt-${id}`, payload }));
    };
    socket.onmessage = (event) => {
      const data = JSON.parse(event.data);
      const frames = Array.isArray(data) ? data : [data];
      texts.push(frames);
      for (const { type, id } of frames) {
        if (id === undefined) continue;
        const more = type === "register"
          ? { agentId: "a", storeId: "s", epoch: 1, cursor: 0, batch: true }
          : {};
        socket.send(JSON.stringify({ type: "ack", id, payload: { frameId: id, ok: true, ...more } }));
      }
    };
    return response;
  });
  const agent = new TestAgent(`http://127.0.0.1:${server.addr.port}`, "a");
  agent.bus.connect();
  await until("registration", () => agent.bus.transportState.state === "registered");
  const acks = (frames: typeof texts[number]) =>
    frames.flatMap(({ type, payload }) => type === "ack" && payload.frameId !== "" ? [payload.frameId] : []);
  push(1);
  await until("an ack by itself", () => texts.some((frames) => acks(frames).includes("evt-1")));
  // Held ones come when they are not any more, the others meanwhile.
  agent.bus.holdPushes(true);
  push(2);
  await agent.untilGot("push 2");
  assert((await agent.bus.markRead([2])).ok);
  assertEquals(texts.flatMap(acks), ["evt-1"]);
  agent.bus.holdPushes(false);
  assert((await agent.bus.markRead([2])).ok);
  assertEquals(texts.at(-1)!.map(({ type }) => type), ["message.read", "ack"]);
  assertEquals(texts.flatMap(acks), ["evt-1", "evt-2"]);
  await agent.bus.close();
  await server.shutdown();
});

Deno.test("the relay answers every frame that carries an id, the ack of a push too", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const answered: string[] = [];
    const socket = new WebSocket(busUrl(relay.url), { headers: { "x-agent-relay-token": TOKEN } });
    socket.onopen = () => {
      const payload = {
        role: "provider",
        componentId: "c",
        agentId: "a",
        instanceId: "i",
        capabilities: [],
        tags: [],
        machine: "m",
        meta: {},
      };
      socket.send(JSON.stringify({ type: "register", id: "1", payload }));
    };
    socket.onmessage = ({ data }) => {
      const { type, id } = JSON.parse(data) as { type: string; id: string };
      if (type === "registered") {
        socket.send(JSON.stringify({ type: "ack", id: "2", payload: { frameId: "evt-1" } }));
        socket.send(JSON.stringify({ type: "status", id: "3", payload: { agentStatus: "busy" } }));
      }
      if (type === "ack") answered.push(id);
    };
    await until("the answers", () => answered.length === 3);
    assertEquals(answered.toSorted(), ["1", "2", "3"]);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
    await relay.stop();
  });
});
