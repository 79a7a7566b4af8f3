import { assertEquals } from "@std/assert";
import { CoreWorld, message, STORE } from "./core_world.ts";

/** Wall clock of a {@linkcode CoreWorld}. */
const wall = (world: CoreWorld) => 1_700_000_000_000 + world.mono;
const delivered = (world: CoreWorld) => world.of("deliver").map(({ message: { id } }) => id);
const stages = (world: CoreWorld, id: number) =>
  world.of("report").flatMap(({ report }) => report.messageId === id ? [report.stage] : []);

Deno.test("step() does not hand over what expired while it waited, and goes on with the next", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2, { expiresAt: wall(world) + 1_000 }) });
  world.post({ type: "offered", message: message(3, { expiresAt: wall(world) + 60_000 }) });
  world.after(2_000);
  world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "result" });
  assertEquals(delivered(world), [1, 3]);
  assertEquals(stages(world, 2), ["received", "expired"]);
  assertEquals(world.row(2), undefined);
});

Deno.test("step() takes the relay's clock for the end of a message, also after the machine slept", () => {
  const world = new CoreWorld().up();
  // Ours is two hours ahead.
  world.post({ type: "bus.up", storeId: STORE, serverTime: wall(world) - 7_200_000 });
  const relayNow = wall(world) - 7_200_000;
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2, { expiresAt: relayNow + 60_000 }) });
  world.after(30_000);
  world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "result" });
  assertEquals(delivered(world), [1, 2], "half of its time is left");
  world.post({ type: "offered", message: message(3, { expiresAt: relayNow + 600_000 }) });
  world.wallAheadMs = 3_600_000;
  world.after(1);
  world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "result" });
  assertEquals(delivered(world), [1, 2]);
  assertEquals(stages(world, 3), ["received", "expired"]);
});

Deno.test("step() hands over a letter that a person opened again, whatever its age", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { expiresAt: 1, generation: 1 }) });
  assertEquals(delivered(world), [1]);
});

Deno.test("step() does not try again what expired after a failed turn", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { expiresAt: wall(world) + 500 }) });
  const failed = { type: "failed", failure: "transient", reason: "overloaded" } as const;
  world.provider({ ...failed, deliveryIds: [world.delivery] });
  while (world.tick());
  assertEquals(delivered(world), [1]);
  assertEquals(stages(world, 1).at(-1), "expired");
});
