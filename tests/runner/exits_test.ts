import { assert, assertEquals } from "@std/assert";
import { CoreWorld, message, STORE } from "./core_world.ts";

/** Stages that were reported of a message, in order. */
const stages = (world: CoreWorld, id: number) =>
  world.of("report").filter(({ report }) => report.messageId === id).map(({ report }) => report.stage);

function working(id: number): CoreWorld {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(id, { claimable: true, to: "cap:review" }) });
  world.post({ type: "claim.won", key: `${STORE}/${id}`, sentAt: world.mono, leaseMs: 600_000 });
  return world;
}

Deno.test("retry: each attempt is a new delivery after 1, 2, 4 and 8 s, told with its reason", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const waits: number[] = [];
  for (let i = 0; i < 4; i++) {
    world.provider({
      type: "failed",
      deliveryIds: [world.delivery],
      failure: "transient",
      reason: `503 #${i}`,
    });
    assertEquals(world.row(1)?.state.state, "retry");
    const since = world.mono;
    assert(world.tick());
    waits.push(world.mono - since);
  }
  assertEquals(waits, [1_000, 2_000, 4_000, 8_000]);
  const sent = world.of("deliver");
  assertEquals(new Set(sent.map((effect) => effect.deliveryId)).size, 5);
  assertEquals(sent.map((effect) => effect.redelivery), [0, 1, 2, 3, 4]);
  assertEquals(
    world.of("report").filter(({ report }) => report.stage === "retry").map(({ report }) => report.evidence),
    [
      "503 #0",
      "503 #1",
      "503 #2",
      "503 #3",
    ],
  );
  assertEquals(world.of("ack"), []);
});

Deno.test("retry: a poison message delays the one behind it by one attempt", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "transient", reason: "503" });
  assertEquals(world.of("deliver").at(-1)?.message.id, 2);
});

Deno.test("failed: a turn that fails after the model had direct mail ends it, acked and never again", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const { delivery } = world;
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "s" });
  world.provider({ type: "failed", deliveryIds: [delivery], failure: "transient", reason: "cut" });
  assertEquals(world.of("ack").length, 1);
  world.post({ type: "acked", keys: [`${STORE}/1`] });
  world.after(600_000);
  assertEquals(world.of("deliver").length, 1);
  assertEquals(stages(world, 1), ["received", "seen", "failed", "acked"]);
});

Deno.test("retry: work whose turn failed after it was seen is not done, so it is tried again under its lease", () => {
  const world = working(1);
  const { delivery } = world;
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "s" });
  world.provider({ type: "failed", deliveryIds: [delivery], failure: "transient", reason: "cut" });
  assertEquals(world.of("ack"), []);
  assert(world.tick());
  assertEquals(world.of("deliver").length, 2);
  assertEquals(world.of("claim").length, 1, "its lease still stands");
});

Deno.test("dead: work that this agent cannot do is given back, for another one to try", () => {
  const world = working(1);
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "message", reason: "too long" });
  assertEquals(world.of("release").map((effect) => effect.messageId), [1]);
  assertEquals(stages(world, 1), ["received", "claimed", "dead"]);
  assertEquals(world.of("ack"), []);
});

Deno.test("skipped: a lost claim is told", () => {
  const world = working(1);
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  assertEquals(stages(world, 1), ["received", "claimed", "skipped"]);
  assertEquals(world.of("report").at(-1)?.report.evidence, "the claim was lost");
});

Deno.test("held: nothing is claimed or burnt while the provider is at fault, and all goes on when it is mended", () => {
  const world = new CoreWorld().up();
  world.provider({ type: "fault", reason: "usage limit" });
  for (const id of [1, 2]) world.post({ type: "offered", message: message(id) });
  world.post({ type: "offered", message: message(3, { claimable: true, to: "cap:review" }) });
  // One message at a time tries whether it is mended, less and less often.
  let tries = 0;
  for (let minutes = 0; minutes < 60; minutes++) {
    world.after(60_000);
    const sent = world.of("deliver");
    if (sent.length === tries) continue;
    tries = sent.length;
    assertEquals(sent.at(-1)?.message.id, 1);
    world.provider({
      type: "failed",
      deliveryIds: [world.delivery],
      failure: "provider",
      reason: "usage limit",
    });
    assertEquals(world.row(1)?.state.state, "held");
  }
  assert(tries >= 5 && tries <= 10, `${tries} tries in an hour`);
  assertEquals([world.of("claim").length, world.state.dead.size, world.row(1)?.failures], [0, 0, 0]);
  assertEquals([world.status()?.agentStatus, world.status()?.ready], ["error", false]);
  assertEquals(world.status()?.meta?.reason, "usage limit");
  world.provider({ type: "fault", reason: null });
  for (const id of [1, 2]) {
    assertEquals(world.of("deliver").at(-1)?.message.id, id);
    world.provider({ type: "evidence", deliveryId: world.delivery, stage: "seen", evidence: "s" });
    world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "d" });
  }
  assertEquals(world.of("claim").map((effect) => effect.messageId), [3]);
  assertEquals(world.status()?.ready, true);
});

Deno.test("held: a message that fails by itself is not the only one that tries whether the provider is mended", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "provider", reason: "401" });
  world.after(60_000);
  world.post({ type: "tick" });
  assertEquals(world.of("deliver").map((effect) => effect.message.id), [1, 1]);
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "transient", reason: "503" });
  for (let i = 0; i < 4 && world.of("deliver").length < 3; i++) world.tick();
  assertEquals(world.of("deliver").map((effect) => effect.message.id), [1, 1, 2]);
});

Deno.test("skipped: work that is offered again while its claim is being refused is claimed again, not forgotten", () => {
  const world = new CoreWorld().up();
  const offer = message(1, { claimable: true, to: "cap:review" });
  world.post({ type: "offered", message: offer });
  assertEquals(world.of("claim").length, 1);
  // Its holder died and the relay offers it anew; the refusal from before that is still on its way.
  world.post({ type: "offered", message: offer });
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  assertEquals(world.row(1)?.state.state, "received");
  world.tick();
  assertEquals(world.of("claim").length, 2);
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  assertEquals(world.row(1), undefined);
});

Deno.test("skipped: work taken away while a provider had it is looked up in its record when it comes back", () => {
  for (const [found, delivers] of [["done", 1], ["absent", 2]] as const) {
    const world = new CoreWorld().up();
    const offer = message(1, { claimable: true, to: "cap:review" });
    const claimed = () =>
      world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 600_000 });
    world.post({ type: "offered", message: offer });
    claimed();
    const first = world.delivery;
    world.post({ type: "claim.lost", key: `${STORE}/1` });
    world.after(20_000);
    world.post({ type: "offered", message: offer });
    claimed();
    world.tick();
    assertEquals(world.of("deliver").length, 1, "asked before it is delivered");
    assertEquals(world.of("probe").at(-1)?.deliveryIds, [first]);
    const result = found === "done"
      ? { state: found, evidence: "record", text: "" } as const
      : { state: found } as const;
    world.post({ type: "probed", incarnation: 1, results: new Map([[first, result]]) });
    assertEquals(world.of("deliver").length, delivers, found);
    assertEquals(world.of("ack").length, found === "done" ? 1 : 0);
    if (found === "absent") assertEquals([world.delivery, world.of("deliver")[1]!.redelivery], [first, 1]);
  }
});

Deno.test("claimed: the late answer to a renewal is not taken for that to a newer claim", () => {
  const world = working(1);
  world.after(200_000);
  assertEquals(world.of("renew").length, 1);
  const sentAt = world.mono;
  // Its turn fails and the restart of the agent gives the work back, then it is claimed anew.
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "transient", reason: "503" });
  world.tick();
  world.state.leases.clear();
  world.state.flight.clear();
  world.state.claiming.set(`${STORE}/1`, "asked");
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt, leaseMs: 600_000, renewal: true });
  assertEquals([world.state.leases.size, world.state.claiming.size], [0, 1]);
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 600_000 });
  assertEquals([world.state.leases.size, world.state.claiming.size], [1, 0]);
});

Deno.test("skipped: a provider is told which deliveries of an earlier incarnation must not run", () => {
  const world = working(1);
  const { delivery } = world;
  world.post({ type: "offered", message: message(2) });
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  assert(world.tick());
  assertEquals(world.of("spawn").map((effect) => effect.unwanted), [[delivery]]);
});
