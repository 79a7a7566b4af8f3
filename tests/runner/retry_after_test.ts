import { assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import type { CoreConfig, Event } from "../../lib/runner/core/types.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { RelayActions } from "../../lib/runner/relay_actions.ts";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { CoreWorld, message } from "./core_world.ts";

Deno.test("what the relay says of when to ask again goes with the failure to the core, at most 300 s", async () => {
  let header = "7";
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () =>
      Response.json({ error: "busy", code: "E_RATE" }, { status: 429, headers: { "retry-after": header } }),
  );
  const http = new RelayHttpClient({ url: `http://127.0.0.1:${server.addr.port}`, token: null });
  const events: Event[] = [];
  const ports = { http, log: noLog } as unknown as RunnerPorts;
  const config = { agentId: "me" } as CoreConfig;
  const actions = new RelayActions(config, ports, (event) => events.push(event), () => false, () => null);
  await actions.perform({ type: "resync", sinceId: 3 });
  header = "4000";
  await actions.perform({ type: "fetch", key: "k", messageId: 1 });
  assertEquals(events, [
    { type: "resynced", end: "failed", through: 3, retryAfterMs: 7_000 },
    { type: "fetch.failed", key: "k", reason: "busy", retryAfterMs: 300_000 },
  ]);
});

Deno.test("the core asks for pages and texts again no earlier than the relay wants", () => {
  const world = new CoreWorld({ maxQueue: 2 }).up();
  for (let id = 1; id <= 4; id++) world.post({ type: "offered", message: message(id) });
  assertEquals(world.state.intake, "behind");
  world.post({ type: "resynced", end: "failed", through: 0, retryAfterMs: 60_000 });
  assertEquals(world.state.resyncNotBefore, world.mono + 60_000);
  world.post({ type: "resynced", end: "failed", through: 0, retryAfterMs: 1 });
  assertEquals(world.state.resyncNotBefore, world.mono + 1_500);

  world.state.fetches.set("key", Infinity);
  world.post({ type: "fetch.failed", key: "key", reason: "busy", retryAfterMs: 60_000 });
  assertEquals(world.state.fetches.next(), world.mono + 60_000);
});
