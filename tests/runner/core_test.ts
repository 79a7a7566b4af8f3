import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { CONFIG, CoreWorld, message, STORE } from "./core_world.ts";

Deno.test("step() journals a message before it delivers it", () => {
  const world = new CoreWorld().up();
  const types = world.post({ type: "offered", message: message(1) }).map((effect) => effect.type);
  assert(types.indexOf("persist") >= 0 && types.indexOf("persist") < types.indexOf("deliver"), types.join());
  assertEquals(world.row(1)?.state.state, "delivering");
});

Deno.test("step() acks direct mail at seen and never at handed or placed", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const deliveryId = world.delivery;
  world.post({ type: "handed", key: `${STORE}/1`, deliveryId });
  world.provider({ type: "evidence", deliveryId, stage: "placed", evidence: "p" });
  assertEquals(world.of("ack"), []);
  world.provider({ type: "evidence", deliveryId, stage: "seen", evidence: "s" });
  assertEquals(world.of("ack").map((effect) => effect.messageId), [1]);
});

Deno.test("step() acks claimable work only when its turn is done", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { claimable: true, to: "cap:review" }) });
  assertEquals(world.of("deliver"), []);
  assertEquals(world.of("claim").length, 1);
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 60_000 });
  const deliveryId = world.delivery;
  world.provider({ type: "evidence", deliveryId, stage: "placed", evidence: "p" });
  world.provider({ type: "evidence", deliveryId, stage: "seen", evidence: "s" });
  assertEquals(world.of("ack"), []);
  world.provider({ type: "done", deliveryIds: [deliveryId], text: "ok", evidence: "d" });
  assertEquals(world.of("ack").length, 1);
});

Deno.test("step() delivers nothing of a message whose claim was lost", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { claimable: true, to: "cap:review" }) });
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  world.after(120_000);
  assertEquals(world.of("deliver"), []);
  assertEquals(world.of("ack"), []);
  assertEquals(world.row(1), undefined);
});

Deno.test("step() takes a message again when the winner of its claim gave up", () => {
  const world = new CoreWorld().up();
  const offer = message(1, { claimable: true, to: "cap:review" });
  world.post({ type: "offered", message: offer });
  world.post({ type: "claim.lost", key: `${STORE}/1` });
  world.post({ type: "offered", message: offer });
  assertEquals(world.of("claim").length, 2);
});

Deno.test("step() renews a lease at a third of its length while the turn runs", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { claimable: true, to: "cap:review" }) });
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 60_000 });
  world.provider({ type: "activity", activity: "busy" });
  world.after(19_999);
  assertEquals(world.of("renew"), []);
  world.after(1);
  assertEquals(world.of("renew").length, 1);
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 60_000 });
  world.after(20_000);
  assertEquals(world.of("renew").length, 2);
});

Deno.test("step() stops the work when the lease is lost in the middle of it", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { claimable: true, to: "cap:review" }) });
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono, leaseMs: 60_000 });
  const deliveryId = world.delivery;
  world.after(20_000);
  const effects = world.post({ type: "claim.lost", key: `${STORE}/1` });
  assertEquals(world.of("interrupt", effects).length, 1);
  // Its turn may still run: the next delivery waits for its end.
  world.post({ type: "offered", message: message(2) });
  assertEquals(world.of("deliver").map((effect) => effect.message.id), [1]);
  world.provider({ type: "done", deliveryIds: [deliveryId], text: "late", evidence: "d" });
  assertEquals(world.of("ack"), []);
  assertEquals(world.of("deliver").map((effect) => effect.message.id), [1, 2]);
});

Deno.test("step() uses a claim only with a fifth and five seconds of its lease left", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { claimable: true, to: "cap:review" }) });
  world.mono += 20_000;
  world.post({ type: "claim.won", key: `${STORE}/1`, sentAt: world.mono - 20_000, leaseMs: 24_000 });
  assertEquals(world.of("deliver"), []);
});

Deno.test("step() holds the queue and burns nothing when the provider is at fault", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  const first = world.delivery;
  world.provider({ type: "evidence", deliveryId: first, stage: "placed", evidence: "p" });
  world.provider({ type: "failed", deliveryIds: [first], failure: "provider", reason: "login: 401" });
  assertEquals(world.of("ack"), []);
  assertEquals(world.row(1)?.state.state, "held");
  assertEquals(world.of("deliver").length, 1);
  assertEquals(world.status(), {
    agentStatus: "error",
    ready: false,
    meta: {
      runnerId: CONFIG.runnerId,
      incarnation: 1,
      busyReasons: [],
      queued: 2,
      dead: 0,
      reason: "login: 401",
    },
  });
  world.after(60_000);
  assertEquals(world.of("deliver").length, 2);
  assertNotEquals(world.delivery, first);
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "placed", evidence: "p" });
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "seen", evidence: "s" });
  world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "d" });
  assertEquals(world.of("deliver").at(-1)?.message.id, 2);
});

Deno.test("step() makes a poison message a dead letter and lets the queue move on", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  const attempts = new Set<string>();
  for (let i = 0; i < 20 && !world.of("report").some((effect) => effect.report.stage === "dead"); i++) {
    const last = world.of("deliver").at(-1)!;
    if (last.message.id === 1) {
      attempts.add(last.deliveryId);
      world.provider({ type: "failed", deliveryIds: [last.deliveryId], failure: "transient", reason: "500" });
    } else {
      world.provider({ type: "evidence", deliveryId: last.deliveryId, stage: "seen", evidence: "s" });
      world.provider({ type: "done", deliveryIds: [last.deliveryId], text: "", evidence: "d" });
    }
    world.tick(120_000);
  }
  assertEquals(attempts.size, 5);
  assertEquals(world.of("ack").map((effect) => effect.messageId), [2]);
  assertEquals(world.state.dead.size, 1);
});

Deno.test("step() takes proof that comes after the record said absent, and does not deliver again", () => {
  const world = new CoreWorld({ window: 2 }).up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  const [first, second] = world.of("deliver");
  world.post({ type: "hand.failed", key: second!.key, deliveryId: second!.deliveryId, reason: "slow pipe" });
  world.provider({
    type: "failed",
    deliveryIds: [first!.deliveryId],
    failure: "provider",
    reason: "login expired",
  });
  world.after(5_000);
  const absent = new Map([[second!.deliveryId, { state: "absent" as const }]]);
  world.post({ type: "probed", incarnation: 1, results: absent });
  assertEquals(world.row(2)?.state.state, "received");
  assertEquals(world.of("deliver").length, 2, "the queue is held");

  world.provider({ type: "evidence", deliveryId: second!.deliveryId, stage: "seen", evidence: "s" });
  assertEquals(world.row(2)?.state.state, "seen");
  world.provider({ type: "done", deliveryIds: [second!.deliveryId], text: "", evidence: "d" });
  assertEquals(world.of("ack").map((effect) => effect.messageId), [2]);
  while (world.tick(600_000) && world.mono < 3_600_000);
  assertEquals(world.of("deliver").filter(({ message }) => message.id === 2).length, 1);
});

Deno.test("step() does not take proof of an earlier attempt for one of a message that waits for its next", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const { delivery } = world;
  world.post({ type: "offered", message: message(2) });
  world.provider({ type: "failed", deliveryIds: [delivery], failure: "transient", reason: "overloaded" });
  assertNotEquals(world.delivery, delivery, "the second one is with the provider");
  world.tick(60_000);
  assertEquals([world.row(1)?.state.state, world.row(1)?.attempt], ["received", 2]);
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "s" });
  assertEquals(world.row(1)?.state.state, "received");
});

Deno.test("step() asks the provider's record before it delivers again after a crash", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const deliveryId = world.delivery;
  world.post({ type: "exited", incarnation: 1, status: { code: 137, signal: "SIGKILL" } });
  assertEquals(world.status()?.ready, false);
  assert(world.tick());
  world.post({ type: "spawned", incarnation: 2 });
  world.provider({ type: "ready", resume: "conversation-1" });
  world.after(4_999);
  assertEquals(world.of("probe"), []);
  world.after(1);
  assertEquals(world.of("probe").map((effect) => effect.deliveryIds), [[deliveryId]]);
  world.post({
    type: "probed",
    incarnation: 2,
    results: new Map([[deliveryId, { state: "absent" as const }]]),
  });
  const again = world.of("deliver").at(-1)!;
  assertEquals([again.deliveryId, again.redelivery, again.incarnation], [deliveryId, 1, 2]);
});

Deno.test("step() never delivers again what the provider's record shows as done", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1, { replyExpected: true }) });
  const deliveryId = world.delivery;
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  assert(world.tick());
  world.provider({ type: "ready", resume: null });
  world.after(5_000);
  const result = { state: "done" as const, evidence: "transcript", text: "42" };
  world.post({ type: "probed", incarnation: 2, results: new Map([[deliveryId, result]]) });
  assertEquals(world.of("deliver").length, 1);
  assertEquals(world.of("ack").length, 1);
  assertEquals(world.of("reply").map((effect) => effect.text), ["42"]);
});

Deno.test("step() tries at once what a provider that is gone refused for want of a login", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const deliveryId = world.delivery;
  world.post({ type: "exited", incarnation: 1, status: { code: 137, signal: "SIGKILL" } });
  assert(world.tick());
  world.post({ type: "spawned", incarnation: 2 });
  world.provider({ type: "ready", resume: "conversation-1" });
  world.after(5_000);
  const result = { state: "failed" as const, failure: "provider" as const, reason: "401" };
  world.post({ type: "probed", incarnation: 2, results: new Map([[deliveryId, result]]) });
  const again = world.of("deliver").at(-1)!;
  assertEquals([again.redelivery, again.incarnation, world.status()?.ready], [1, 2, true]);
  // The attempt has failed, so its identity must not run again.
  assert(again.deliveryId !== deliveryId);
  // Refused by the process that runs now, it waits for a person.
  world.provider({ type: "failed", deliveryIds: [again.deliveryId], failure: "provider", reason: "401" });
  assertEquals([world.row(1)?.state.state, world.status()?.ready], ["held", false]);
});

Deno.test("step() ignores events of an earlier incarnation", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  const deliveryId = world.delivery;
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  world.tick();
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  world.post({
    type: "provider",
    incarnation: 1,
    event: { type: "evidence", deliveryId, stage: "seen", evidence: "late" },
  });
  assertEquals(world.of("ack"), []);
  assertEquals(world.state.provider.state, "spawning");
});

Deno.test("step() delivers a message once however often it is offered", () => {
  const world = new CoreWorld().up();
  for (let i = 0; i < 3; i++) world.post({ type: "offered", message: message(1) });
  const { delivery } = world;
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "s" });
  world.provider({ type: "done", deliveryIds: [delivery], text: "", evidence: "d" });
  world.post({ type: "acked", keys: [`${STORE}/1`] });
  for (let i = 0; i < 3; i++) world.post({ type: "offered", message: message(1) });
  assertEquals(world.of("deliver").length, 1);
  assertEquals(world.of("reoffered").length, 3);
});

Deno.test("step() repeats markRead until the relay answered", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "seen", evidence: "s" });
  for (let tries = 1; tries <= 4; tries++) {
    assertEquals(world.of("ack").length, tries);
    world.post({ type: "ack.failed", keys: [`${STORE}/1`], reason: "500" });
    assert(world.tick(60_000));
  }
  world.post({ type: "acked", keys: [`${STORE}/1`] });
  const acks = world.of("ack").length;
  world.after(600_000);
  assertEquals(world.of("ack").length, acks);
});

Deno.test("step() accepts exactly the targets that the agent advertises", () => {
  const cases: [string, boolean][] = [
    [CONFIG.agentId, true],
    [CONFIG.runnerId, true],
    ["broadcast", true],
    ["label:api", true],
    ["label:apix", false],
    ["tag:gpu", true],
    ["tag:cpu", false],
    ["cap:review", true],
    ["cap:none", false],
    ["somebody-else", false],
  ];
  cases.forEach(([to, expected], index) => {
    const world = new CoreWorld().up();
    world.post({ type: "offered", message: message(index + 1, { to }) });
    assertEquals(world.row(index + 1) !== undefined, expected, to);
  });
  const unlabelled = new CoreWorld({ label: null }).up();
  unlabelled.post({ type: "offered", message: message(99, { to: "label:undefined" }) });
  unlabelled.post({ type: "offered", message: message(98, { to: "label:null" }) });
  assertEquals(unlabelled.state.rows.size, 0);
});

Deno.test("step() refuses more than the queue holds and fetches the rest when there is room", () => {
  const world = new CoreWorld({ window: 64 }).up();
  world.provider({ type: "fault", reason: "login" });
  for (let id = 1; id <= 15; id++) world.post({ type: "offered", message: message(id) });
  assertEquals(world.state.rows.size, 10);
  world.provider({ type: "fault", reason: null });
  for (const { deliveryId } of world.of("deliver")) {
    world.provider({ type: "evidence", deliveryId, stage: "seen", evidence: "s" });
    world.provider({ type: "done", deliveryIds: [deliveryId], text: "", evidence: "d" });
  }
  assertEquals(world.of("resync"), [], "the pages asked for at the start are not through yet");
  world.post({ type: "resynced", end: "reached", through: 15 });
  world.post({ type: "acked", keys: world.of("ack").map((effect) => effect.key) });
  assertEquals(world.of("resync").length, 1);
  // Until the pages have caught up, a push stays at the relay: it would overtake what was left there.
  world.post({ type: "offered", message: message(16) });
  assertEquals(world.row(16), undefined);
  for (let id = 11; id <= 15; id++) world.post({ type: "offered", message: message(id), paged: true });
  world.post({ type: "resynced", end: "reached", through: 15 });
  assertEquals(world.of("resync").length, 2, "something was left at the relay meanwhile");
  world.post({ type: "offered", message: message(16), paged: true });
  world.post({ type: "resynced", end: "reached", through: 15 });
  world.post({ type: "offered", message: message(17) });
  assertEquals([...world.state.rows.values()].map((row) => row.messageId), [11, 12, 13, 14, 15, 16, 17]);
  assertEquals(world.of("resync").length, 2);
});

Deno.test("step() restarts the provider with back-off and stops at a crash loop", () => {
  const world = new CoreWorld().up();
  const delays: number[] = [];
  for (let exits = 0; exits < 6; exits++) {
    world.provider({ type: "ready", resume: null });
    world.post({ type: "exited", incarnation: world.state.incarnation, status: { code: 1, signal: null } });
    if (world.state.provider.state !== "waiting") break;
    delays.push(world.state.provider.until - world.mono);
    world.random = 0;
    world.tick();
  }
  assert(delays.length === 5 && delays.every((ms) => ms >= 1_000), delays.join());
  assertEquals(world.state.provider.state, "failed");
  assertEquals(world.of("exit").map((effect) => effect.outcome.cause.kind), ["error"]);
});

Deno.test("step() drains on the first signal and ends hard on the second", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  world.post({ type: "signal", signal: "SIGTERM" });
  assertEquals(world.of("stop-provider"), []);
  assertEquals(world.status()?.ready, false);
  const { delivery } = world;
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "s" });
  world.provider({ type: "done", deliveryIds: [delivery], text: "", evidence: "d" });
  assertEquals(world.of("deliver").length, 1);
  assertEquals(world.of("stop-provider").map((effect) => effect.graceful), [true]);
  world.post({ type: "signal", signal: "SIGTERM" });
  assertEquals(world.of("stop-provider").map((effect) => effect.graceful), [true, false]);
  world.post({ type: "exited", incarnation: 1, status: { code: 143, signal: "SIGTERM" } });
  assertEquals(world.of("exit").map((effect) => effect.outcome.cause), [{
    kind: "signal",
    signal: "SIGTERM",
  }]);
});

Deno.test("step() stops the provider when the drain's time is up", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "signal", signal: "SIGTERM" });
  world.after(19_999);
  assertEquals(world.of("stop-provider"), []);
  world.after(1);
  assertEquals(world.of("stop-provider").length, 1);
});

Deno.test("step() leaves SIGINT to the agent of a terminal and to nobody else", () => {
  const interactive = new CoreWorld({ headless: false }).up();
  interactive.post({ type: "signal", signal: "SIGINT" });
  assertEquals(interactive.state.phase.phase, "running");
  const headless = new CoreWorld().up();
  headless.post({ type: "signal", signal: "SIGINT" });
  assertNotEquals(headless.state.phase.phase, "running");
});

function lifecycle(commandId: string, commandType: string, target = CONFIG.agentId) {
  const command = {
    id: commandId,
    type: commandType,
    target,
    params: {},
    status: "pending" as const,
    createdAt: 0,
    updatedAt: 0,
  };
  return { type: "command" as const, command: { commandId, commandType, target, params: {}, command } };
}

Deno.test("step() runs a lifecycle command once per id and only for its exact target", () => {
  const world = new CoreWorld().up();
  world.post(lifecycle("c0", "agent.restart", "another-agent"));
  world.post(lifecycle("c1", "agent.explode"));
  assertEquals(world.of("command.update"), []);
  for (let i = 0; i < 5; i++) world.post(lifecycle("c2", "agent.restart"));
  assertEquals(world.of("stop-provider").length, 1);
  world.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  assertEquals(world.of("spawn").map((effect) => effect.resume), ["conversation-1"]);
  world.post(lifecycle("c2", "agent.restart"));
  world.provider({ type: "ready", resume: "conversation-1" });
  assertEquals(world.of("command.update").map((effect) => effect.update.status), [
    "accepted",
    "running",
    "succeeded",
  ]);
});

Deno.test("step() says how long to wait when a lifecycle command comes right after another one", () => {
  const world = new CoreWorld().up();
  world.post(lifecycle("c1", "agent.restart"));
  world.after(1_500);
  world.post(lifecycle("c2", "agent.shutdown"));
  assertEquals(world.of("command.update").map((effect) => effect.update).slice(-1), [{
    commandId: "c2",
    status: "failed",
    error: "another lifecycle command came less than 5 s ago",
    result: { code: "E_RATE", retryAfterMs: 3_500 },
  }]);
});

Deno.test("step() takes what is offered while the provider is restarted and delivers it after", () => {
  const world = new CoreWorld().up();
  world.post(lifecycle("c1", "agent.restart"));
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  world.post({ type: "offered", message: message(2) });
  assertEquals(world.of("deliver"), []);
  world.post({ type: "spawned", incarnation: 2 });
  world.provider({ type: "ready", resume: "conversation-1" });
  assertEquals(world.of("deliver").map((effect) => effect.message.id), [1]);
  // A drain towards the end leaves what comes to the next run.
  world.post({ type: "signal", signal: "SIGTERM" });
  world.post({ type: "offered", message: message(3) });
  assertEquals([world.row(2)?.state.state, world.row(3)], ["received", undefined]);
});

Deno.test("step() answers agent.shutdown by removing the agent and agent.kill without any grace", () => {
  const shutdown = new CoreWorld().up();
  shutdown.post(lifecycle("c1", "agent.shutdown"));
  shutdown.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  assertEquals(shutdown.of("exit").map((effect) => effect.outcome.deregister), [true]);
  const kill = new CoreWorld().up();
  kill.post(lifecycle("c1", "agent.kill"));
  assertEquals(kill.of("stop-provider").map((effect) => effect.graceful), [false]);
});

Deno.test("step() publishes ready only with a living provider and a working journal", () => {
  const world = new CoreWorld();
  world.post({ type: "start" });
  assertEquals(world.status()?.ready, false);
  world.provider({ type: "ready", resume: null });
  assertEquals([world.status()?.agentStatus, world.status()?.ready], ["idle", true]);
  world.post({ type: "storage", ok: false, reason: "disk full" });
  assertEquals([world.status()?.agentStatus, world.status()?.ready], ["error", false]);
  world.post({ type: "storage", ok: true, reason: "" });
  world.provider({ type: "activity", activity: "approval" });
  assertEquals(world.status()?.meta?.busyReasons, ["approval"]);
  world.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  assertEquals([world.status()?.agentStatus, world.status()?.ready], ["error", false]);
});

Deno.test("step() continues after a restart of the runner with what the journal holds", () => {
  const before = new CoreWorld().up();
  before.post({ type: "offered", message: message(1) });
  before.post({ type: "offered", message: message(2) });
  const deliveryId = before.delivery;
  const world = new CoreWorld({}, {
    open: [...before.state.rows.values()],
    incarnation: 1,
    resume: "conversation-1",
    commands: [{ commandId: "c9", type: "agent.restart", phase: "started", at: 0 }],
  });
  world.post({ type: "start" });
  world.post({ type: "bus.up", storeId: STORE });
  assertEquals(world.of("spawn").map((effect) => [effect.incarnation, effect.resume]), [[
    2,
    "conversation-1",
  ]]);
  assertEquals(world.of("command.update").map((effect) => effect.update.status), ["failed"]);
  world.provider({ type: "ready", resume: "conversation-1" });
  assertEquals(world.of("deliver"), []);
  world.after(5_000);
  assertEquals(world.of("probe").map((effect) => effect.deliveryIds), [[deliveryId]]);
});

Deno.test("step() begins with the conversation that was asked for, and later goes on with the one that was open", () => {
  const begun = (conversation: string, resume: string | null) => {
    const world = new CoreWorld({ conversation }, { resume, incarnation: 4 });
    world.post({ type: "start" });
    return world;
  };
  const spawns = (world: CoreWorld) => world.of("spawn").map(({ resume, opening }) => [resume, opening]);
  assertEquals(spawns(begun("last", "old")), [["old", true]]);
  assertEquals(spawns(begun("new", "old")), [[null, true]]);
  const world = begun("named", "old");
  // An agent that was never ready begins with the same again.
  world.post({ type: "exited", incarnation: 5, status: { code: 1, signal: null } });
  world.after(60_000);
  assertEquals(spawns(world), [["named", true], ["named", true]]);
  world.provider({ type: "ready", resume: "named" });
  world.provider({ type: "conversation", resume: "another" });
  world.post(lifecycle("c1", "agent.restart"));
  world.post({ type: "exited", incarnation: 6, status: { code: 0, signal: null } });
  assertEquals(spawns(world).slice(2), [["another", false]]);
  assertEquals(world.of("persist.resume").map(({ resume }) => resume), ["named", "another"]);
});

Deno.test("step() ends the run at once when the agent cannot have what the person asked for", () => {
  const world = new CoreWorld({ conversation: "named" });
  world.post({ type: "start" });
  world.provider({ type: "refused", reason: "no conversation named" });
  assertEquals(world.of("stop-provider").map(({ graceful }) => graceful), [true]);
  world.post({ type: "exited", incarnation: 1, status: { code: 0, signal: "SIGTERM" } });
  assertEquals(world.of("spawn").length, 1);
  assertEquals(world.of("exit").map(({ outcome }) => outcome.cause), [
    { kind: "error", code: "E_PROVIDER_CMD", message: "no conversation named" },
  ]);
});

Deno.test("step() answers a restart that comes to nothing when the run ends, with the reason", () => {
  const updates = (world: CoreWorld) =>
    world.of("command.update").map(({ update }) => [update.commandId, update.status, update.error]);
  // The new provider cannot be started.
  const broken = new CoreWorld().up();
  broken.post(lifecycle("c1", "agent.restart"));
  broken.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  broken.post({ type: "spawn.failed", incarnation: 2, permanent: true, reason: "no such command" });
  assertEquals(updates(broken).slice(2), [["c1", "failed", "the run ended: no such command"]]);
  // A signal comes while the old one drains.
  const told = new CoreWorld().up();
  told.provider({ type: "activity", activity: "busy" });
  told.post(lifecycle("c1", "agent.restart"));
  told.post({ type: "signal", signal: "SIGTERM" });
  told.provider({ type: "activity", activity: "idle" });
  told.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  assertEquals(updates(told).slice(2), [["c1", "failed", "the run ended"]]);
  // A provider that is ready only now is still the one that is to go.
  const late = new CoreWorld();
  late.post({ type: "start" });
  late.post({ type: "spawned", incarnation: 1 });
  late.post(lifecycle("c1", "agent.restart"));
  late.provider({ type: "ready", resume: "r" });
  assertEquals(updates(late).map(([, status]) => status), ["accepted", "running"]);
  late.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  late.provider({ type: "ready", resume: "r" });
  assertEquals(updates(late).map(([, status]) => status), ["accepted", "running", "succeeded"]);
});

Deno.test("step() tells an idle agent's queue as empty, while an ack is still owed to the relay", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.provider({ type: "activity", activity: "busy" });
  assertEquals(world.status()?.meta?.queued, 1);
  const { delivery } = world;
  world.provider({ type: "evidence", deliveryId: delivery, stage: "placed", evidence: "item" });
  world.provider({ type: "evidence", deliveryId: delivery, stage: "seen", evidence: "answer" });
  world.provider({ type: "done", deliveryIds: [delivery], text: "", evidence: "result" });
  world.provider({ type: "activity", activity: "idle" });
  assertEquals([world.status()?.agentStatus, world.status()?.meta?.queued], ["idle", 0]);
});
