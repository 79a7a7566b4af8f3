import { assertEquals } from "@std/assert";
import { viewOf } from "../../lib/runner/core/view.ts";
import { CoreWorld, message } from "./core_world.ts";

/** What is seen of a world now. */
function seen(world: CoreWorld) {
  return viewOf(world.state, { mono: world.mono, wall: 1_700_000_000_000 + world.mono });
}

Deno.test("a view names what the agent has in hand, for how long, and what waits behind it", () => {
  const world = new CoreWorld().up();
  for (const id of [41, 42, 43]) {
    world.post({ type: "offered", message: message(id, id === 41 ? { subject: "first" } : {}) });
  }
  world.post({ type: "handed", key: world.of("deliver")[0]!.key, deliveryId: world.delivery });
  world.provider({ type: "activity", activity: "busy" });
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "placed", evidence: "item 7" });
  world.after(3_600_000);
  const view = seen(world);
  assertEquals([view.queued, view.inFlight, view.dead, view.bus], [3, 1, 0, "up"]);
  assertEquals([view.provider.activity, view.provider.forMs], ["busy", 3_600_000]);
  assertEquals(view.messages.map(({ messageId, state }) => [messageId, state]), [
    [41, "placed"],
    [42, "received"],
    [43, "received"],
  ]);
  assertEquals(view.messages[0], {
    messageId: 41,
    from: "alice",
    subject: "first",
    claimable: false,
    state: "placed",
    attempt: 1,
    because: "item 7",
    forMs: 3_600_000,
  });
  assertEquals(view.conversation, "conversation-1");
});

Deno.test("a view shows ten messages of a long queue, in the order of delivery, and counts all", () => {
  const world = new CoreWorld({ maxQueue: 100 }).up();
  for (let id = 60; id > 0; id--) world.post({ type: "offered", message: message(id) });
  const view = seen(world);
  assertEquals(view.queued, 60);
  const [inHand, ...waiting] = view.messages.map(({ messageId }) => messageId);
  assertEquals(inHand, 60, "it came first");
  assertEquals(waiting, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

Deno.test("a view counts the agent's ends of the last minute", () => {
  const world = new CoreWorld().up();
  const exits = () => seen(world).provider.recentExits;
  world.post({
    type: "exited",
    incarnation: world.state.incarnation,
    status: { code: 1, signal: null },
  });
  assertEquals([exits(), seen(world).provider.state], [1, "waiting"]);
  world.mono += 61_000;
  assertEquals(exits(), 0);
});
