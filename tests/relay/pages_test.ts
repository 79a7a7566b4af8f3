import { assert, assertEquals } from "@std/assert";
import type { SendInput } from "../../lib/protocol/message.ts";
import type { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { httpOf, TestAgent, testRelay } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";

async function sendMany(http: RelayHttpClient, count: number, input: SendInput): Promise<void> {
  for (let sent = 0; sent < count; sent += 50) {
    const results = await Promise.all(Array.from({ length: 50 }, () => http.send(input)));
    for (const result of results) assert(result.ok, JSON.stringify(result).slice(0, 200));
  }
}

/** Number of messages of every page, as a runner asks for them. */
async function pages(http: RelayHttpClient, agentId: string): Promise<number[]> {
  const sizes: number[] = [];
  for (let sinceId = 0;;) {
    const page = await http.listUnread(agentId, { sinceId, limit: 500 });
    assert(page.ok, JSON.stringify(page));
    if (page.value.length === 0) return sizes;
    sizes.push(page.value.length);
    sinceId = page.value.at(-1)!.id;
  }
}

Deno.test("pages of unread mail are bounded by their bytes, in whatever script they are, and hold all of it", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    await (await new TestAgent(relay.url, "a").join()).bus.close();
    await sendMany(http, 400, { from: "s", to: "a", body: "字".repeat(4_000) });
    // Where the text is makes no difference.
    await sendMany(http, 100, { from: "s", to: "a", body: "x", payload: { text: "字".repeat(20_000) } });
    const sizes = await pages(http, "a");
    assertEquals(sizes.reduce((sum, size) => sum + size), 500);
    assert(Math.max(...sizes) <= 175, String(sizes));
    await relay.stop();
  });
});

Deno.test("what is pushed and waits for its acks is bounded by its bytes, so that no agent is dropped for the script of its mail", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    await (await new TestAgent(relay.url, "a").join()).bus.close();
    await sendMany(httpOf(relay), 300, { from: "s", to: "a", body: "字".repeat(7_000) });
    const a = new TestAgent(relay.url, "a");
    a.bus.holdPushes(true);
    await a.join();
    await until("the first pushes", () => a.messages.length > 50);
    // Its answer comes after whatever was pushed by then.
    await a.bus.statusAsync({ agentStatus: "idle", ready: true });
    assert(a.messages.length <= 101, `${a.messages.length} pushes on their way`);
    a.bus.holdPushes(false);
    await until("all of it", () => a.messages.length === 300);
    assertEquals(a.states.filter(({ state }) => state === "waiting"), []);
    await a.bus.close();
    await relay.stop();
  });
});
