import { assertEquals } from "@std/assert";
import { Watch } from "../../lib/providers/claude/watch.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("Watch looks at its own pace, at once and often after a poke, and never after its end", async () => {
  const clock = new FakeClock();
  const looks: number[] = [];
  const watch = new Watch(clock, {
    look: () => Promise.resolve(void looks.push(clock.mono())),
    paceMs: () => 2_000,
  });
  await clock.advance(10_000);
  assertEquals(looks, [2_000, 4_000, 6_000, 8_000, 10_000]);
  await clock.advance(500);
  looks.length = 0;
  watch.poke();
  await clock.advance(0);
  assertEquals(looks, [10_500]);
  await clock.advance(3_000);
  // 20 a second for three seconds, then the old pace again.
  assertEquals([looks.length > 50, looks.length <= 62], [true, true], String(looks.length));
  looks.length = 0;
  await clock.advance(10_000);
  assertEquals(looks.length <= 6, true, String(looks.length));
  watch.stop();
  watch.poke();
  assertEquals(clock.pending, 0);
});

Deno.test("Watch never looks twice at once: pokes during a look are one more look after it", async () => {
  const clock = new FakeClock();
  const open: (() => void)[] = [];
  let running = 0;
  let most = 0;
  let looks = 0;
  const watch = new Watch(clock, {
    async look() {
      looks++;
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => open.push(resolve));
      running--;
    },
    paceMs: () => 1_000,
  });
  for (let i = 0; i < 5; i++) watch.poke();
  await clock.advance(60_000);
  assertEquals([looks, most], [1, 1]);
  open.shift()!();
  await clock.advance(0);
  await clock.advance(0);
  assertEquals([looks, most], [2, 1]);
  watch.stop();
  open.shift()!();
  await clock.advance(60_000);
  assertEquals([looks, clock.pending], [2, 0]);
});
