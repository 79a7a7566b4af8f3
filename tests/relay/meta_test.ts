import { assert, assertEquals } from "@std/assert";
import { keptMeta } from "../../lib/relay/meta.ts";
import { httpOf, TOKEN } from "../support/relay_world.ts";
import { api, Component, registration, withRelay } from "./component.ts";

Deno.test("keptMeta() leaves out what has not the type that others rely on", () => {
  const good = {
    busyReasons: ["provider-turn", "message"],
    reason: "held",
    queued: 3,
    dead: 0,
    delivery: "stream",
    provider: "claude",
    runnerId: "host-claude-x-1",
    approvalMode: "ask",
    cwd: "/home/me/a project",
    label: "api",
    incarnation: 2,
    lifecycleCapabilities: { shutdownHard: true },
    anything: [1, { b: null }],
  };
  assertEquals(keptMeta(good), good);
  const bad: Record<string, unknown[]> = {
    busyReasons: ["x", 1, {}, null, [1], [["x"]], ["x".repeat(65)], ["a\x1b[2J"], Array(17).fill("x")],
    reason: [1, {}, ["x"], null],
    queued: ["1", -1, 1.5, 1e300, null, {}],
    dead: ["1", -1, 1.5, 1e300, null, {}],
    delivery: [1, {}, "x".repeat(65), "a\nb"],
    provider: [1, {}, "x".repeat(65), "a\nb"],
    runnerId: [1, null],
    cwd: [1, null, {}],
  };
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      assertEquals(keptMeta({ [name]: value, other: 1 }), { other: 1 }, `${name}: ${value}`);
    }
  }
});

Deno.test("keptMeta() cuts a reason, shows its control characters, and keeps no more than 8 KiB", () => {
  assertEquals(keptMeta({ reason: "r".repeat(600) }).reason, "r".repeat(499) + "…");
  assertEquals(keptMeta({ reason: "a\x1b[2J\nb" }).reason, "a\\x1b[2J\\nb");
  const kept = keptMeta({ a: "x".repeat(8_000), b: "y".repeat(8_000), reason: "r", queued: 1 });
  assertEquals(Object.keys(kept), ["a", "reason", "queued"]);
  for (let length = 8_150; length < 8_200; length++) {
    const size = JSON.stringify(keptMeta({ a: "x".repeat(length) })).length;
    assert(size <= 8_192, String(size));
  }
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i]));
  assert(JSON.stringify(keptMeta(many)).length <= 8_192);
});

Deno.test("what an agent says of itself is kept in bounds by both doors, and in the event stream", async () => {
  await withRelay(async (relay) => {
    const abort = new AbortController();
    const stream = await fetch(`${relay.url}/api/events`, {
      headers: { "x-agent-relay-token": TOKEN },
      signal: abort.signal,
    });
    const events = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    const meta = { busyReasons: "x", reason: "stuck", queued: -1, big: "b".repeat(100_000) };
    const agent = await Component.open(relay, TOKEN);
    assertEquals(await agent.say("register", { ...registration("a"), meta }), "ok");
    const card = async () => {
      const found = await httpOf(relay).getAgent("a");
      return found.ok ? found.value.meta : found.message;
    };
    assertEquals(await card(), { reason: "stuck" });
    assertEquals(await agent.say("status", { agentStatus: "busy", meta: { ...meta, queued: 4 } }), "ok");
    assertEquals(await card(), { reason: "stuck", queued: 4 });
    let told = "";
    while (!told.includes("agent.status")) told += (await events.read()).value;
    assert(told.includes('"meta":{"reason":"stuck","queued":4}'), told);
    abort.abort();
    await events.read().catch(() => {});
    await agent.close();
    const registered = await api(relay, "POST", "/agents", TOKEN, { id: "b", meta });
    assertEquals((await registered.json()).meta, { reason: "stuck" });
  });
});

Deno.test("a registration with a name or a number of them beyond the bounds is refused", async () => {
  await withRelay(async (relay) => {
    const words = (count: number) => Array.from({ length: count }, (_, i) => `w${i}`);
    const attempt = async (more: object) => {
      const answer = await api(relay, "POST", "/agents", TOKEN, { id: "a", ...more });
      await answer.body?.cancel();
      return answer.status;
    };
    assertEquals(
      await attempt({ instanceId: "i".repeat(128), tags: words(256), capabilities: words(256) }),
      201,
    );
    assertEquals(await attempt({ tags: words(257) }), 422);
    assertEquals(await attempt({ capabilities: words(257) }), 422);
    for (const instanceId of ["i".repeat(129), "a\nb", "a b", "ä"]) {
      assertEquals(await attempt({ instanceId }), 422);
    }
    const card = await httpOf(relay).getAgent("a");
    assertEquals(card.ok && [card.value.tags.length, card.value.instanceId], [256, "i".repeat(128)]);
    const tags = await api(relay, "POST", "/agents/a/tags", TOKEN, { tags: words(257) });
    assertEquals([tags.status, (await tags.json()).code], [422, "E_UNPROCESSABLE"]);
  });
});
