import { assertEquals } from "@std/assert";
import { CoreWorld, message, STORE } from "./core_world.ts";

const KEY = `${STORE}/1`;
const WORK = message(1, { claimable: true, to: "cap:review" });

/** A world that holds the lease of message 1 and has delivered it. */
function claimed(): CoreWorld {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: WORK });
  world.post({ type: "claim.won", key: KEY, sentAt: world.mono, leaseMs: 60_000 });
  return world;
}

Deno.test("step() counts no failure of work that it stopped itself, however often the machine sleeps", () => {
  const world = claimed();
  for (let sleep = 0; sleep < 10; sleep++) {
    const { delivery } = world;
    world.provider({ type: "activity", activity: "busy" });
    world.provider({ type: "evidence", deliveryId: delivery, stage: "placed", evidence: "item" });
    world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "answer" });
    world.wallAheadMs += 300_000;
    world.effects.length = 0;
    world.after(1);
    assertEquals(world.of("interrupt").length, 1);
    // The relay is on this machine and grants it again before the turn has ended.
    assertEquals(world.of("claim").length, 1);
    world.post({ type: "claim.won", key: KEY, sentAt: world.mono, leaseMs: 60_000 });
    world.provider({ type: "failed", deliveryIds: [delivery], failure: "cancelled", reason: "interrupted" });
    world.provider({ type: "activity", activity: "idle" });
    while (world.row(1)?.state.state !== "delivering") {
      assertEquals(world.tick(60_000), true, `sleep ${sleep}: ${world.row(1)?.state.state}`);
      const asked = world.of("claim").length > 0 || world.of("renew").length > 0;
      if (asked) world.post({ type: "claim.won", key: KEY, sentAt: world.mono, leaseMs: 60_000 });
    }
    assertEquals([world.row(1)!.failures, world.row(1)!.attempt], [0, sleep + 2]);
  }
});

Deno.test("step() gives claimed work back that a fault of the provider keeps it from doing, and tries for it again later", () => {
  const world = claimed();
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "placed", evidence: "item" });
  world.provider({
    type: "failed",
    deliveryIds: [world.delivery],
    failure: "provider",
    reason: "usage limit",
  });
  assertEquals(world.of("release"), [{ type: "release", messageId: 1 }]);
  assertEquals(world.row(1)?.state.state, "held");
  world.effects.length = 0;
  world.after(30_000);
  assertEquals(world.of("renew"), []);
  world.after(31_000);
  assertEquals(world.of("claim").length, 1, "the trial needs its lease");
});

Deno.test("step() gives claimed work back that it cannot begin since the disk is full", () => {
  // Two places and one taken, so that the work is claimed and waits.
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: WORK });
  world.post({ type: "storage", ok: false, reason: "no space" });
  world.post({ type: "claim.won", key: KEY, sentAt: world.mono, leaseMs: 60_000 });
  world.post({ type: "storage", ok: false, reason: "no space" });
  assertEquals(world.of("release"), [{ type: "release", messageId: 1 }]);
  assertEquals([world.row(1)?.state.state, world.state.leases.size], ["received", 0]);
  world.post({ type: "storage", ok: true, reason: "" });
  assertEquals(world.of("claim").length, 2);
});
