import type { RelayServer } from "../../lib/relay/contract.ts";
import type { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { httpOf, testRelay, TOKEN } from "../support/relay_world.ts";
import { obliging, refusing, ScriptedAgent } from "../support/scripted_agent.ts";
import { until, withTempDir } from "../support/temp.ts";
import { CoreWorld, message, STORE } from "./core_world.ts";

/** A core with message 1 dead. */
function withDead(): CoreWorld {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "message", reason: "too long" });
  assertEquals([...world.state.dead.keys()], [`${STORE}/1`]);
  return world;
}

Deno.test("step() takes a re-opened dead letter again, with another delivery id, once per generation", () => {
  const world = withDead();
  const first = world.delivery;
  world.post({ type: "offered", message: message(1) });
  assertEquals(world.of("deliver").length, 1, "the same generation stays dead");
  assertEquals(world.of("report").at(-1)?.report.stage, "dead", "the relay had not heard of it");
  for (let i = 0; i < 3; i++) world.post({ type: "offered", message: message(1, { generation: 1 }) });
  assertEquals(world.of("deliver").length, 2);
  const again = world.of("deliver").at(-1)!;
  assertNotEquals(again.deliveryId, first);
  assertEquals(again.redelivery, 1);
  assertEquals(world.state.dead.size, 0);
  assertEquals(world.status()?.meta?.dead, 0);
  world.provider({ type: "evidence", deliveryId: again.deliveryId, stage: "seen", evidence: "s" });
  world.provider({ type: "done", deliveryIds: [again.deliveryId], text: "", evidence: "d" });
  world.post({ type: "acked", keys: [`${STORE}/1`] });
  world.post({ type: "offered", message: message(1, { generation: 1 }) });
  assertEquals(world.of("deliver").length, 2);
});

Deno.test("step() takes a re-opened dead letter once more when the agent that won its claim has died", () => {
  const world = withDead();
  const work = { generation: 1, claimable: true, kind: "task" };
  world.post({ type: "offered", message: message(1, work) });
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  assertEquals(world.of("persist").at(-1)?.row.state.state, "skipped");
  const claims = world.of("claim").length;
  world.post({ type: "offered", message: message(1, work) });
  assertEquals(world.of("claim").length, claims + 1);
});

Deno.test("step() gives a re-opened message a new delivery id even when its journal was lost", () => {
  const before = withDead();
  const fresh = new CoreWorld().up();
  fresh.post({ type: "offered", message: message(1, { generation: 1 }) });
  assertNotEquals(fresh.delivery, before.delivery);
});

Deno.test("step() knows its dead letters after a restart and forgets the ones that a person dropped", () => {
  const before = withDead();
  before.post({ type: "offered", message: message(2) });
  before.provider({ type: "failed", deliveryIds: [before.delivery], failure: "message", reason: "too long" });
  const dead = [...before.state.dead.values()];
  const world = new CoreWorld({}, { dead, known: dead.map((row) => row.key) }).up();
  assertEquals(world.state.dead.size, 2);
  // The relay has not heard of 2, so that it is missing in the list does not mean that it was dropped.
  world.post({ type: "offered", message: message(2), paged: true });
  world.post({ type: "dead.listed", storeId: STORE, letters: [], through: Number.MAX_SAFE_INTEGER });
  assertEquals([...world.state.dead.keys()], [`${STORE}/2`]);
  assertEquals(world.of("persist").at(-1)?.row.state.state, "dropped");
  world.post({ type: "dropped", storeId: STORE, messageId: 2, generation: 0 });
  assertEquals(world.state.dead.size, 0);
  assertEquals(world.status()?.meta?.dead, 0);
});

Deno.test("step() counts the failures of a re-opened message anew and lets it die again", () => {
  const world = withDead();
  world.post({ type: "offered", message: message(1, { generation: 1 }) });
  for (let i = 0; i < 5; i++) {
    world.provider({ type: "failed", deliveryIds: [world.delivery], failure: "transient", reason: "500" });
    world.tick(120_000);
  }
  assertEquals(world.of("deliver").length, 6);
  const { report } = world.of("report").at(-1)!;
  assertEquals([report.stage, report.generation], ["dead", 1]);
  assertEquals(world.state.dead.get(`${STORE}/1`)?.generation, 1);
});

Deno.test("step() tells of a death again when what it took for dropped is offered: the relay never heard of it", () => {
  const before = withDead();
  const dead = [...before.state.dead.values()];
  const world = new CoreWorld({}, { dead, known: dead.map((row) => row.key) }).up();
  // Another agent holds the work just then, so that it is neither among the dead letters nor offered.
  world.post({ type: "dead.listed", storeId: STORE, letters: [], through: Number.MAX_SAFE_INTEGER });
  assertEquals(world.state.dead.size, 0);
  world.post({ type: "offered", message: message(1) });
  assertEquals([...world.state.dead.keys()], [`${STORE}/1`]);
  const { report } = world.of("report").at(-1)!;
  assertEquals([report.stage, report.evidence], ["dead", "too long"]);
  assertEquals(world.of("deliver").length, 0);
  // What a person dropped stays so, whatever comes late.
  world.post({ type: "dropped", storeId: STORE, messageId: 1, generation: 0 });
  world.post({ type: "offered", message: message(1) });
  assertEquals(world.state.dead.size, 0);
});

/** A relay with one agent on it whose model refuses whatever it is sent. */
async function withRefusing(
  work: (world: { relay: RelayServer; http: RelayHttpClient; agent: ScriptedAgent }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const agent = new ScriptedAgent(relay.url, dir, { agentId: "worker", script: refusing }).start();
    try {
      await until("the agent", () => agent.runner.view().bus === "up");
      await work({ relay, http: httpOf(relay), agent });
    } finally {
      await agent.stop();
      await relay.stop();
    }
  });
}

Deno.test("a dead letter is visible at the relay, is not offered, and a retry delivers it as a new attempt", async () => {
  await withRefusing(async ({ http, agent }) => {
    const sent = await http.send({ from: "alice", to: "worker", body: "too much" });
    assert(sent.ok);
    const dead = async () => {
      const listed = await http.listDead();
      return listed.ok ? listed.value.letters : [];
    };
    await until("the dead letter", async () => (await dead()).length === 1);
    const [letter] = await dead();
    assertEquals(
      [letter!.agentId, letter!.reason, letter!.generation, letter!.excerpt],
      ["worker", "context window exceeded", 0, "too much"],
    );
    agent.bus.reconnect("test");
    await until("the bus again", () => agent.bus.transportState.state === "registered");
    const unread = await http.listUnread("worker");
    assertEquals(unread.ok && unread.value.length, 0);
    agent.script = obliging;
    const key = { messageId: letter!.messageId, agentId: "worker", generation: 0 };
    for (let i = 0; i < 3; i++) {
      assertEquals((await http.retryDead(key)).ok, true, "a repeat changes nothing");
    }
    await until("the answer", async () => {
      const receipt = await http.receipt(1);
      return receipt.ok && receipt.value.recipients[0]!.read;
    });
    assertEquals(agent.deliveries.length, 2);
    assertNotEquals(agent.deliveries[0]!.deliveryId, agent.deliveries[1]!.deliveryId);
    assertEquals(agent.runner.view().dead, 0);
    assertEquals(await dead(), []);
    assertEquals((await http.dropDead(key)).ok, true, "it has ended: nothing to drop");
  });
});

Deno.test("a retry while the agent is away reaches its next run, and crashes around it lose and double nothing", async () => {
  await withRefusing(async ({ http, agent }) => {
    assert((await http.send({ from: "alice", to: "worker", body: "again" })).ok);
    const dead = async () => {
      const listed = await http.listDead({ agentId: "worker" });
      return listed.ok ? listed.value.letters.map((letter) => letter.generation) : [];
    };
    await until("the dead letter", async () => (await dead()).length === 1);
    for (let generation = 0; generation < 4; generation++) {
      await agent.crash();
      assertEquals((await http.retryDead({ messageId: 1, agentId: "worker", generation })).ok, true);
      agent.start();
      assertEquals(agent.runner.view().dead, 1, "what the journal knows");
      await until("its next death", async () => (await dead())[0] === generation + 1);
      assertEquals(agent.runner.view().dead, 1);
    }
    assertEquals(new Set(agent.deliveries.map((each) => each.deliveryId)).size, agent.deliveries.length);
    assertEquals(agent.deliveries.length, 5);
    await agent.crash();
    assertEquals((await http.dropDead({ messageId: 1, agentId: "worker", generation: 4 })).ok, true);
    agent.start();
    await until("the drop to be known", () => agent.runner.view().dead === 0);
    const receipt = await http.receipt(1);
    assert(receipt.ok);
    assertEquals(receipt.value.recipients[0]!.reports.at(-1)?.stage, "dropped");
  });
});

Deno.test("only the operator opens and drops dead letters; agents see their own alone", async () => {
  await withRefusing(async ({ relay, http, agent }) => {
    assert((await http.send({ from: "alice", to: "worker", body: "x" })).ok);
    await until("the dead letter", async () => {
      const listed = await http.listDead();
      return listed.ok && listed.value.letters.length === 1;
    });
    const own = httpOf(relay, agent.bus.agentToken);
    const key = { messageId: 1, agentId: "worker", generation: 0 };
    for (const refused of [await own.retryDead(key), await own.dropDead(key), await own.listDead()]) {
      assertEquals(!refused.ok && refused.kind, "auth");
    }
    assertEquals((await own.listDead({ agentId: "other" })).ok, false);
    const mine = await own.listDead({ agentId: "worker" });
    assertEquals(mine.ok && mine.value.letters.length, 1, "positive control");
    for (const stage of ["reopened", "dropped"] as const) {
      const forged = await own.reportStages([{ messageId: 1, agentId: "worker", stage, at: 1 }]);
      assertEquals(forged.ok, false, stage);
    }
    for (const bad of [{ ...key, messageId: 9 }, { ...key, agentId: "nobody" }]) {
      const answer = await http.retryDead(bad);
      assertEquals(!answer.ok && answer.kind === "rejected" && answer.status, 404);
    }
    assert((await http.dropDead(key)).ok);
    await until("the drop to be known", () => agent.runner.view().dead === 0);
    const late = await http.retryDead(key);
    assertEquals(!late.ok && late.kind === "rejected" && late.status, 409);
    assertNotEquals(agent.bus.agentToken, TOKEN);
  });
});

Deno.test("step() takes a dead letter that was opened again while the list of dead letters was on its way", () => {
  const world = withDead();
  world.post({ type: "dead.listed", storeId: STORE, letters: [], through: Number.MAX_SAFE_INTEGER });
  world.post({ type: "dead.listed", storeId: STORE, letters: [], through: Number.MAX_SAFE_INTEGER });
  assertEquals(world.state.dead.size, 0);
  world.post({ type: "offered", message: message(1, { generation: 1 }) });
  const again = world.of("deliver").at(-1)!;
  assertEquals([again.message.id, again.redelivery, world.of("deliver").length], [1, 1, 2]);
});
