import { assert } from "@std/assert";
import { until } from "../support/temp.ts";
import { withWorld } from "./with_world.ts";

/** A link whose other end is gone without a word is given up in this time. */
const DETECT_MS = 45_000;

Deno.test("a relay that was stopped and a line that swallows everything are noticed within 45 s", async () => {
  await withWorld({ providers: ["echo", "echo"] }, async (world) => {
    const [swallowed, stopped] = world.agents as [typeof world.agents[0], typeof world.agents[0]];
    // Both ways of dying at once, each on its own line: a connection that is accepted and then silent, and a relay that
    // does nothing any more.
    const began = Date.now();
    swallowed!.proxy.set({ kind: "timeout" });
    world.relay.signal("SIGSTOP");
    const noticed = await Promise.all([swallowed, stopped].map(async (agent) => {
      const before = agent!.proxy.opened.length;
      await until(`${agent!.id} to connect again`, () => agent!.proxy.opened.length > before, DETECT_MS);
      return agent!.proxy.opened[before]! - began;
    }));
    world.relay.signal("SIGCONT");
    swallowed!.proxy.set({ kind: "none" });
    assert(noticed.every((ms) => ms <= DETECT_MS), `${noticed} ms`);
    await until("both to be ready again", () => world.ready(), 60_000);
  });
});
