import { assert, assertEquals } from "@std/assert";
import { decodeClientFrames } from "../../lib/protocol/codec.ts";
import { FrameBatch } from "../../lib/transport/frame_batch.ts";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

interface Frame {
  type: string;
  id: string;
  payload: Record<string, unknown>;
}

Deno.test("a batch is what was sent in one task, in order, and no longer than 64 KiB and a frame", async () => {
  const texts: string[] = [];
  const batch = new FrameBatch({ write: (text) => void texts.push(text) });
  batch.send("0");
  batch.send("1");
  assertEquals(texts.splice(0), ["0", "1"], "one by one to a peer that has not said that it takes arrays");
  batch.taken = true;
  batch.send("2");
  assertEquals(texts, []);
  await null;
  for (let i = 3; i < 6; i++) batch.send(String(i));
  await null;
  assertEquals(texts.splice(0), ["2", "[3,4,5]"]);
  const long = "9".repeat(30_000);
  for (let i = 0; i < 4; i++) batch.send(long);
  assertEquals(texts.length, 1);
  await null;
  assertEquals(texts.splice(0).map((text) => text.length), [3 * 30_000 + 4, 30_000]);
  batch.send("6");
  batch.clear();
  batch.send("7");
  batch.flush();
  await null;
  assertEquals(texts, ["7"]);
});

Deno.test("a text that would leave in two pieces follows a small one that is answered", () => {
  const texts: string[] = [];
  const batch = new FrameBatch({ write: (text) => void texts.push(text), probe: () => "probe" });
  batch.taken = true;
  const sent = (...frames: [string, boolean?][]) => {
    for (const [frame, answered] of frames) batch.send(frame, answered);
    batch.flush();
    return texts.splice(0).map((text) => text.replace(/(.)\1{20,}/g, "$1…"));
  };
  const long = "x".repeat(999);
  assertEquals(sent(["a"], ["b"]), ["[a,b]"]);
  assertEquals(sent([long]), ["x…"]);
  assertEquals(sent(["a"], [long], ["b"]), ["a", "[x…,b]"]);
  assertEquals(sent(["a"], [long + long]), ["a", "x…"]);
  assertEquals(sent(["a", false], [long], ["b"]), ["probe", "[a,x…,b]"]);
  // Nothing goes out that is not answered.
  assertEquals(sent(["a", false], ["b", false]), ["[a,b,probe]"]);
  assertEquals(sent(["a", false], ["b", true], ["c", false]), ["[a,b,c]"]);
  assertEquals(sent([long + long]), ["probe", "x…"]);
  // It is bytes that count.
  assertEquals(sent(["ü".repeat(600)]), ["probe", "ü…"]);
});

Deno.test("a frame that goes along makes no text of its own, and is in the next one behind the others", async () => {
  const texts: string[] = [];
  const batch = new FrameBatch({ write: (text) => void texts.push(text), probe: () => "probe" });
  batch.taken = true;
  batch.sendAlong("a");
  batch.sendAlong("b");
  await null;
  assertEquals(texts, []);
  batch.send("1");
  await null;
  assertEquals(texts.splice(0), ["[1,a,b]"]);
  batch.sendAlong("c");
  batch.flush();
  assertEquals(texts.splice(0), ["[c,probe]"], "nothing goes out that is not answered");
  batch.sendAlong("d".repeat(70_000));
  assertEquals(texts.splice(0).length, 2, "many do not wait");
  batch.sendAlong("e");
  batch.clear();
  batch.flush();
  assertEquals(texts, []);
});

Deno.test("of the frames of one text each is taken or refused for itself", () => {
  const ack = { type: "ack", payload: { frameId: "x" } };
  const decoded = decodeClientFrames(JSON.stringify([ack, { type: "nonsense", id: "n" }, null, [ack], ack]));
  assertEquals(decoded.map(({ ok }) => ok), [true, false, false, false, true]);
  assertEquals(decoded[1], { ok: false, reason: "unknown frame type", id: "n" });
  for (const text of ["[]", JSON.stringify(Array(4_097).fill(ack)), "[", '[{"__proto__":{}}]']) {
    assertEquals(decodeClientFrames(text).map(({ ok }) => ok), [false], text.slice(0, 20));
  }
});

for (const batch of [true, false]) {
  const name = batch
    ? "several frames in one text to a client that takes them"
    : "one frame in a text to any other";
  Deno.test(`the relay sends ${name}`, async () => {
    await withTempDir(async (dir) => {
      const relay = await testRelay(dir);
      const socket = new WebSocket(`${relay.url.replace("http", "ws")}/bus`, {
        headers: { "x-agent-relay-token": TOKEN },
      });
      const texts: (Frame | Frame[])[] = [];
      socket.onmessage = ({ data }) => texts.push(JSON.parse(data as string));
      await new Promise((resolve) => socket.onopen = resolve);
      const payload = { role: "provider", componentId: "raw", agentId: "raw", instanceId: "i", machine: "m" };
      const registration = { ...payload, capabilities: [], tags: [], meta: {}, ...(batch ? { batch } : {}) };
      socket.send(JSON.stringify({ type: "register", id: "1", payload: registration }));
      await until("its registration", async () => (await httpOf(relay).getAgent("raw")).ok);
      const peer = await new TestAgent(relay.url, "peer").join();
      const sent = await Promise.all(
        Array.from({ length: 50 }, (_, i) => peer.bus.send({ from: "peer", to: "raw", body: `m${i}` })),
      );
      assert(sent.every(({ ok }) => ok));
      const frames = () => texts.flat();
      await until("every push", () => frames().filter(({ type }) => type === "event").length === 50);
      // Acks of a client may come together whatever it takes itself, and a bad frame among them is refused alone.
      const acks = frames().filter(({ type }) => type === "event").map(({ id }, index) => ({
        type: index === 20 ? "bad" : "ack",
        id: `a${index}`,
        payload: { frameId: id },
      }));
      socket.send(JSON.stringify(acks));
      await until("every answer", () => frames().filter(({ id }) => /^a\d+$/.test(id)).length === 50);
      const answers = frames().filter(({ id }) => /^a\d+$/.test(id)).map(({ type, id }) => `${id} ${type}`);
      const expected = acks.map(({ id }, index) => `${id} ${index === 20 ? "error" : "ack"}`);
      assertEquals(answers.toSorted(), expected.toSorted());
      assertEquals(texts.some((text) => Array.isArray(text)), batch);
      if (batch) {
        assert(texts.length < frames().length / 2, `${texts.length} texts for ${frames().length} frames`);
      }
      socket.close();
      await peer.bus.close();
      await relay.stop();
    });
  });
}
