import { assert, assertEquals } from "@std/assert";
import { httpOf, testRelay, TOKEN } from "../support/relay_world.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { withTempDir } from "../support/temp.ts";

Deno.test("a reader of events hears of the relay every 20 s, also when nothing happens", async () => {
  await withTempDir(async (dir) => {
    const clock = new FakeClock();
    const relay = await testRelay(dir, { clock });
    const headers = { "x-agent-relay-token": TOKEN };
    const events = await fetch(`${relay.url}/api/events`, { headers });
    const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader();
    assertEquals((await reader.read()).value, ": events follow\n\n");
    for (let ping = 0; ping < 2; ping++) {
      await clock.advance(20_000);
      assertEquals((await reader.read()).value, ": ping\n\n");
    }
    await reader.cancel();
    await relay.stop();
  });
});

Deno.test("a relay that yields answers first, and is over then; one of its own refuses", async () => {
  await withTempDir(async (dir) => {
    // A clock that stands: nothing of it waits for time.
    const relay = await testRelay(dir, { clock: new FakeClock() });
    assertEquals(await httpOf(relay).yieldRelay(), { ok: true, value: null });
    assertEquals(await relay.finished, "yielded");
    const own = await testRelay(dir, { embedded: false });
    const refused = await httpOf(own).yieldRelay();
    assert(!refused.ok && refused.kind === "auth", JSON.stringify(refused));
    await own.stop();
  });
});
