import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { decodeClientFrames, decodeServerFrames } from "../../lib/protocol/codec.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";
import { registration } from "./component.ts";

/** An object of so many levels. */
function nested(levels: number): Record<string, unknown> {
  let value: Record<string, unknown> = {};
  for (let level = 1; level < levels; level++) value = { a: value };
  return value;
}

/** Puts what an earlier version took into a stored message. */
function alter(dir: string, id: number, column: "payload" | "body", value: string): void {
  const db = new DatabaseSync(`${dir}/relay.db`);
  db.prepare(`UPDATE message SET ${column} = ? WHERE id = ?`).run(value, id);
  db.close();
}

Deno.test("the relay takes payload and meta of 24 levels, which every client reads wherever they are, and no more", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a").join();
    for (const member of ["payload", "meta"] as const) {
      const good = await http.send({ from: "s", to: "a", body: `rest ${member}`, [member]: nested(24) });
      assert(good.ok, JSON.stringify(good));
      const bad = await http.send({ from: "s", to: "a", body: "deep", [member]: nested(25) });
      assert(
        !bad.ok && bad.kind === "rejected" && bad.code === "E_BAD_REQUEST",
        JSON.stringify(bad).slice(0, 200),
      );
      assert((await a.bus.send({ from: "a", to: "a", body: `bus ${member}`, [member]: nested(24) })).ok);
      const refused = await a.bus.send({ from: "a", to: "a", body: "deep", [member]: nested(25) });
      assert(!refused.ok && refused.kind === "rejected" && refused.code === "E_BAD_REQUEST");
    }
    await a.untilGot("bus meta");
    assertEquals(a.messages.map(({ body }) => body), [
      "rest payload",
      "bus payload",
      "rest meta",
      "bus meta",
    ]);
    assertEquals(a.bus.badFrames, 0);
    const unread = await http.listUnread("a");
    assertEquals(unread.ok && unread.value.length, 4);
    const receipt = await http.receipt(1);
    assertEquals(receipt.ok && receipt.value.message.payload, nested(24));
    await a.bus.close();
    await relay.stop();
  });
});

Deno.test("the relay takes what clients can read as a whole: bytes count, and what JSON makes of them", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a").join();
    const MiB = 1024 * 1024;
    const texts: Record<string, unknown>[] = [
      { body: "x", payload: { big: "y".repeat(3 * MiB) } },
      { body: "字".repeat(MiB) },
      { body: "\u0001".repeat(600_000) },
    ];
    for (const text of texts) {
      const sent = await http.send({ from: "s", to: "a", ...text } as Parameters<typeof http.send>[0]);
      assert(
        !sent.ok && sent.kind === "rejected" && sent.code === "E_BAD_REQUEST",
        JSON.stringify(sent).slice(0, 200),
      );
      assert(/larger than/.test(sent.message), sent.message);
    }
    // The largest body of plain text is taken, and its sender told so.
    const largest = await http.send({ from: "s", to: "a", body: "z".repeat(MiB) });
    assert(largest.ok, JSON.stringify(largest).slice(0, 200));
    await until("it", () => a.messages.length === 1);
    await a.bus.close();
    await relay.stop();
  });
});

Deno.test("a stored message that no client can read is a dead letter with its reason, and keeps nobody off the bus", async () => {
  await withTempDir(async (dir) => {
    let relay = await testRelay(dir);
    await (await new TestAgent(relay.url, "a").join()).bus.close();
    for (const body of ["deep", "long", "good", "better"]) {
      assert((await httpOf(relay).send({ from: "s", to: "a", body })).ok);
    }
    await relay.stop();
    alter(dir, 1, "payload", JSON.stringify(nested(30)));
    alter(dir, 2, "payload", JSON.stringify({ big: "y".repeat(4 * 1024 * 1024 - 120) }));

    relay = await testRelay(dir);
    const http = httpOf(relay);
    // A page is empty only at the end, also when it begins with what cannot be handed out.
    const page = await http.listUnread("a", { limit: 1 });
    assertEquals(page.ok && page.value.map(({ body }) => body), ["good"]);
    const a = await new TestAgent(relay.url, "a").join();
    await a.untilGot("better");
    assertEquals(a.messages.map(({ body }) => body), ["good", "better"]);
    assertEquals(a.bus.badFrames, 0);
    const dead = async () => {
      const listed = await http.listDead({ agentId: "a" });
      return listed.ok ? listed.value.letters : [];
    };
    await until("both dead letters", async () => (await dead()).length === 2);
    assertEquals(
      (await dead()).map(({ messageId, generation, reason }) => [messageId, generation, reason]),
      [
        [1, 0, "no client can read it: deeper than 29"],
        [2, 0, "no client can read it: larger than 4063232 bytes"],
      ],
    );
    // Opening it again does not make it readable.
    assert((await http.retryDead({ messageId: 1, agentId: "a", generation: 0 })).ok);
    await until("its second death", async () => (await dead())[0]?.generation === 1);
    await a.bus.close();
    await relay.stop();
  });
});

Deno.test("decodeServerFrames() refuses a frame that is too deep alone, at the same depth in a batch and by itself", () => {
  const event = (levels: number) => ({
    type: "event",
    id: `evt-${levels}`,
    payload: { seq: 1, event: "message.new", data: { payload: nested(levels) } },
  });
  for (const levels of [29, 30]) {
    const [ack, pushed] = decodeServerFrames(JSON.stringify([
      { type: "ack", id: "c1", payload: { frameId: "c1", ok: true } },
      event(levels),
    ]));
    const [alone] = decodeServerFrames(JSON.stringify(event(levels)));
    assertEquals([ack!.ok, pushed!.ok, alone!.ok], [true, levels === 29, levels === 29]);
  }
  const [refused, taken] = decodeClientFrames(JSON.stringify([
    { type: "status", id: "c1", payload: { agentStatus: "idle", meta: nested(25) } },
    { type: "status", id: "c2", payload: { agentStatus: "idle", meta: nested(24) } },
  ]));
  assertEquals(refused, { ok: false, reason: "deeper than 26", id: "c1" });
  assert(taken!.ok);
});

Deno.test("the answer to a registration comes in a text of its own, whatever waits for the agent", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    await (await new TestAgent(relay.url, "a").join()).bus.close();
    for (const body of ["one", "two"]) assert((await httpOf(relay).send({ from: "s", to: "a", body })).ok);
    const socket = new WebSocket(`${relay.url.replace("http", "ws")}/bus`, {
      headers: { "x-agent-relay-token": TOKEN },
    });
    const texts: unknown[] = [];
    socket.onmessage = ({ data }) => texts.push(JSON.parse(data as string));
    await new Promise((resolve) => socket.onopen = resolve);
    const payload = { ...registration("a"), componentId: "a", meta: {}, batch: true };
    socket.send(JSON.stringify({ type: "register", id: "1", payload }));
    await until("its mail", () => texts.some((text) => Array.isArray(text)));
    assertEquals((texts[0] as { type?: string }).type, "ack");
    assertEquals((texts.at(-1) as { type: string }[]).map(({ type }) => type), ["event", "event"]);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
    await relay.stop();
  });
});
