import { assert, assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import { watchMemory } from "../../lib/runner/memory_watch.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("watchMemory() gives texts back, drops sockets at most every 10 s and ends a run that stays too large", async () => {
  const clock = new FakeClock();
  let mib = 100;
  const calls: string[] = [];
  const stop = watchMemory({
    clock,
    log: noLog,
    rssBytes: () => mib * 1024 * 1024,
    actions: {
      soft: () => calls.push("soft"),
      drop: () => calls.push("drop"),
      hard: () => calls.push("hard"),
    },
  });
  const during = async (seconds: number, used: number) => {
    mib = used;
    calls.length = 0;
    await clock.advance(seconds * 1_000);
    return {
      soft: 0,
      drop: 0,
      hard: 0,
      ...Object.fromEntries(
        Object.entries(Object.groupBy(calls, (call) => call))
          .map(([call, all]) => [call, all!.length]),
      ),
    };
  };
  assertEquals(await during(10, 191), { soft: 0, drop: 0, hard: 0 });
  assertEquals(await during(3, 192), { soft: 3, drop: 0, hard: 0 });
  assertEquals(await during(25, 384), { soft: 25, drop: 3, hard: 0 });
  assertEquals((await during(4, 512)).hard, 0);
  assertEquals((await during(2, 511)).hard, 0, "a peak is no reason to end");
  assertEquals((await during(5, 512)).hard, 0);
  assertEquals((await during(20, 600)).hard, 1);
  stop();
  stop();
  assertEquals(clock.pending, 0);
});

Deno.test("watchMemory() looks every second at a process that is large or grows, and every 4 s at one that rests", async () => {
  const clock = new FakeClock();
  let mib = 60;
  let looks = 0;
  const stop = watchMemory({
    clock,
    log: noLog,
    rssBytes: () => (looks++, mib * 1024 * 1024),
    actions: { soft: () => {}, drop: () => {}, hard: () => {} },
  });
  const during = async (seconds: number, growth = 0) => {
    looks = 0;
    for (let second = 0; second < seconds; second++) {
      mib += growth;
      await clock.advance(1_000);
    }
    return looks;
  };
  assertEquals(await during(1), 1, "the first look comes after a second");
  assertEquals(await during(1), 1, "nothing is known of its growth before the second one");
  assertEquals(await during(40), 10);
  await during(4, 2);
  assertEquals(await during(5, 2), 5, "it grows");
  assertEquals(await during(9), 3, "it rests again");
  mib = 96;
  await during(4);
  assertEquals(await during(10), 10, "it is large");
  stop();
  assertEquals(clock.pending, 0);
});

Deno.test("Deno.memoryUsage() tells the resident size under the program's own permissions", () => {
  const blocks: Uint8Array[] = [];
  const grows = () => {
    const before = Deno.memoryUsage().rss;
    blocks.push(new Uint8Array(64 * 1024 * 1024).fill(1));
    const grown = Deno.memoryUsage().rss - before;
    return before > 8 * 1024 * 1024 && grown > 32 * 1024 * 1024;
  };
  // Other test files share the process, and may give as much back at the same moment.
  assert(Array.from({ length: 4 }).some(grows), "it does not grow with what is used");
  assertEquals(blocks.every((block) => block[1] === 1), true);
});
