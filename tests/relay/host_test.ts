import { assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { createRelayHost, type RelayHost } from "../../lib/relay/host.ts";
import { testRelay, TOKEN } from "../support/relay_world.ts";
import { freePort, until, withTempDir } from "../support/temp.ts";

Deno.test("a suspended host leaves the relay to the next one, and serves again when nobody does after it is resumed", async () => {
  await withTempDir(async (dir) => {
    const port = freePort();
    const host = (): RelayHost =>
      createRelayHost({
        url: `http://127.0.0.1:${port}`,
        token: TOKEN,
        serve: () => testRelay(dir, { port }),
        clock: systemClock,
        log: noLog,
      });
    const [first, second] = [host(), host()];
    const serving = () => [first.serving, second.serving];
    await first.ensure();
    await second.ensure();
    assertEquals(serving(), [true, false]);

    await first.suspend();
    await first.ensure();
    assertEquals(serving(), [false, false]);
    await second.ensure();
    first.resume();
    await first.ensure();
    assertEquals(serving(), [false, true]);

    await second.stop();
    second.resume();
    await second.ensure();
    assertEquals(serving(), [false, false]);
    await first.ensure();
    assertEquals(serving(), [true, false]);

    // One that begins to serve while it is suspended does not stay.
    await first.suspend();
    first.resume();
    const looking = first.ensure();
    await Promise.all([first.suspend(), looking]);
    await until("the end", () => !first.serving);
    await first.stop();
  });
});
