import { assertEquals } from "@std/assert";
import type { Log } from "../../lib/base/log.ts";
import { noLog } from "../../lib/base/log.ts";
import { BadFrames } from "../../lib/sdk/bad_frames.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("bad frames are logged one by minute with their number, and all are counted", async () => {
  const clock = new FakeClock();
  const logged: unknown[] = [];
  const log: Log = { ...noLog, warn: (_, fields) => logged.push(fields) };
  const bad = new BadFrames({ clock, log });
  for (let i = 0; i < 5; i++) bad.take("no JSON");
  await clock.advance(60_000);
  bad.take("no type");
  assertEquals(logged, [{ reason: "no JSON", frames: 1 }, { reason: "no type", frames: 5 }]);
  assertEquals(bad.total, 6);
});

Deno.test("a link is given up at the twenty-first bad frame of a minute, and has a new chance after", async () => {
  const clock = new FakeClock();
  const bad = new BadFrames({ clock, log: noLog });
  const taken = Array.from({ length: 42 }, () => bad.take("no JSON"));
  assertEquals(taken.flatMap((each, i) => each === "too many" ? [i + 1] : []), [21, 42]);
  for (let i = 0; i < 100; i++) {
    await clock.advance(4_000);
    assertEquals(bad.take("no JSON"), "tolerable");
  }
});
