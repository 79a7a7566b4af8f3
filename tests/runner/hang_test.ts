import { assertEquals, assertMatch } from "@std/assert";
import { sumOfTree } from "../../lib/process/cpu_time.ts";
import { CoreWorld, message } from "./core_world.ts";

const MINUTE = 60_000;

/** A world whose agent has a turn under way. */
function busy(): CoreWorld {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(41) });
  world.provider({ type: "activity", activity: "busy" });
  world.provider({ type: "evidence", deliveryId: world.delivery, stage: "placed", evidence: "item" });
  return world;
}

/** Answers what the core asks about the processor, with so many milliseconds more each time. */
function live(world: CoreWorld, untilMs: number, cpuMs: (asked: number) => number | null): number {
  let asked = 0;
  let answered = world.of("measure").length;
  while (world.tick(untilMs - world.mono)) {
    if (world.of("measure").length === answered) continue;
    answered++;
    world.post({ type: "measured", incarnation: world.state.incarnation, cpuMs: cpuMs(asked++) });
  }
  world.mono = untilMs;
  return asked;
}

Deno.test("step() ends an agent that does not get ready, and starts it again with its back-off", () => {
  const world = new CoreWorld();
  world.post({ type: "start" });
  world.post({ type: "spawned", incarnation: 1 });
  world.after(MINUTE - 1);
  assertEquals(world.of("stop-provider"), []);
  world.after(1);
  assertEquals(world.of("stop-provider").length, 1);
  assertEquals([world.status()?.agentStatus, world.status()?.ready], ["error", false]);
  assertMatch(world.status()!.meta!.reason as string, /hangs: it was not ready within 1 min/);
  // What it says on its way out is too late.
  world.provider({ type: "ready", resume: "conversation-1" });
  world.post({ type: "exited", incarnation: 1, status: { code: 137, signal: "SIGKILL" } });
  assertEquals(world.state.provider.state, "waiting");
  world.tick();
  assertEquals(world.of("spawn").length, 2);
});

Deno.test("step() ends a job whose agent does not get ready twice, and says so", () => {
  const world = new CoreWorld({ goal: { ...new CoreWorld().state.config.goal, once: "prompt" } });
  world.post({ type: "start" });
  for (const incarnation of [1, 2]) {
    world.post({ type: "spawned", incarnation });
    world.after(MINUTE);
    world.post({ type: "exited", incarnation, status: { code: 137, signal: "SIGKILL" } });
    if (incarnation === 1) world.tick();
  }
  const [exit] = world.of("exit");
  assertEquals(exit?.outcome.cause, {
    kind: "error",
    code: "E_PROVIDER_CMD",
    message: "the provider cannot be started (it was not ready within 1 min)",
  });
});

Deno.test("step() gives an agent of a terminal all the time it takes: a person may be asked something first", () => {
  const world = new CoreWorld({ headless: false, startTimeoutMs: Infinity });
  world.post({ type: "start" });
  world.post({ type: "spawned", incarnation: 1 });
  assertEquals(world.tick(), false, "nothing is due");
});

Deno.test("step() interrupts a turn without a sign of life and without processor time, then ends the agent", () => {
  const world = busy();
  const from = world.mono;
  assertEquals(live(world, from + 15 * MINUTE - 1, () => 0), 0);
  live(world, from + 16 * MINUTE, (asked) => [5_000, 5_900][asked]!);
  assertEquals(world.of("interrupt").length, 1);
  assertEquals(world.of("stop-provider"), []);
  assertEquals(world.status()?.meta?.reason, "the agent hangs in its turn");
  live(world, from + 16 * MINUTE + 10_000, () => null);
  assertEquals(world.of("stop-provider").length, 1);
  world.post({
    type: "exited",
    incarnation: world.state.incarnation,
    status: { code: 143, signal: "SIGTERM" },
  });
  assertEquals(world.state.provider.state, "waiting");
});

Deno.test("step() takes an interrupt that shows for a sign of life", () => {
  const world = busy();
  const from = world.mono;
  live(world, from + 16 * MINUTE, () => 0);
  assertEquals(world.of("interrupt").length, 1);
  world.provider({
    type: "failed",
    deliveryIds: [world.delivery],
    failure: "cancelled",
    reason: "interrupted",
  });
  world.provider({ type: "activity", activity: "idle" });
  live(world, from + 17 * MINUTE, () => 0);
  assertEquals(world.of("stop-provider"), []);
  assertEquals(world.of("deliver").length, 2, "a new attempt");
});

Deno.test("step() leaves a turn alone that works, waits for a person, or cannot be measured", () => {
  const cases: [string, (world: CoreWorld) => number][] = [
    ["works", (world) => live(world, world.mono + 120 * MINUTE, (asked) => asked * 1_000)],
    ["cannot be measured", (world) => live(world, world.mono + 120 * MINUTE, () => null)],
    ["waits", (world) => {
      world.provider({ type: "activity", activity: "approval" });
      return live(world, world.mono + 120 * MINUTE, () => 0);
    }],
    ["says something now and then", (world) => {
      let asked = 0;
      for (let i = 0; i < 12; i++) {
        asked += live(world, world.mono + 10 * MINUTE, () => 0);
        world.provider({ type: "output", text: "." });
      }
      return asked;
    }],
  ];
  const asked = cases.map(([name, run]) => {
    const world = busy();
    const times = run(world);
    assertEquals([name, world.of("interrupt").length, world.of("stop-provider").length], [name, 0, 0]);
    return times;
  });
  // Two measurements a minute apart for each quarter of an hour; one where it is useless; none for the others.
  assertEquals(asked, [14, 8, 0, 0]);
});

Deno.test("step() never looks at an agent whose --stall-timeout is 0", () => {
  const world = busy();
  world.state.config.stallTimeoutMs = Infinity;
  assertEquals(live(world, world.mono + 1_000 * MINUTE, () => 0), 0);
});

Deno.test("processor time is that of a process and all below it, in the forms of ps", () => {
  const output = [
    "    1     0 00:00:09",
    "   10     1 00:01:00",
    "   11    10 1-02:00:00",
    "   12    11 00:00:02",
    "   20     1 09:00:00",
    "  ps: a warning",
    "   13    10 0:01.25",
  ].join("\n");
  assertEquals(sumOfTree(10, output), (60 + 26 * 3_600 + 2) * 1_000 + 1_250);
  assertEquals(sumOfTree(12, output), 2_000);
  assertEquals(sumOfTree(99, output), null);
});

/** Answers every question about the record with `absent`, for so long; returns how often the agent was given a message. */
function shrug(world: CoreWorld, forMs: number, hand: (world: CoreWorld, deliveryId: string) => void): void {
  const until = world.mono + forMs;
  let probes = 0;
  let hands = 0;
  do {
    while (hands < world.of("deliver").length) hand(world, world.of("deliver")[hands++]!.deliveryId);
    for (const { deliveryIds, incarnation } of world.of("probe").slice(probes)) {
      const results = new Map(deliveryIds.map((id) => [id, { state: "absent" as const }]));
      world.post({ type: "probed", incarnation, results });
    }
    probes = world.of("probe").length;
    if (world.state.provider.state === "stopping") {
      const { incarnation } = world.state;
      world.post({ type: "exited", incarnation, status: { code: 137, signal: "SIGKILL" } });
    }
    if (world.state.provider.state === "spawning") {
      world.post({ type: "spawned", incarnation: world.state.incarnation });
      world.provider({ type: "ready", resume: "conversation-1" });
    }
  } while (world.mono < until && world.tick(until - world.mono));
}

Deno.test("step() ends an agent that takes messages and does nothing with them, and gives the message up after five", () => {
  const world = new CoreWorld().up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  world.post({ type: "handed", key: world.of("deliver")[0]!.key, deliveryId: world.delivery });
  const { delivery } = world;
  shrug(world, 24 * 60 * MINUTE, () => {});
  assertEquals([...world.state.dead.values()].map(({ messageId }) => messageId), [1, 2]);
  const ids = world.of("deliver").filter(({ message: { id } }) => id === 1).map(({ deliveryId }) =>
    deliveryId
  );
  assertEquals(new Set(ids), new Set([delivery]), "no turn is proven to have failed, so the attempt stays");
  assertEquals(ids.length, 10, "five times two");
  assertEquals(world.of("stop-provider").length, 10);
});

Deno.test("step() leaves an agent of a terminal alone that shows no trace of a message, and tries it again ever later", () => {
  const world = new CoreWorld({ headless: false, startTimeoutMs: Infinity, window: 1 }).up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  const at: number[] = [];
  shrug(world, 24 * 60 * MINUTE, () => at.push(world.mono));
  assertEquals(world.of("stop-provider"), []);
  assertEquals([...world.state.dead.values()].map(({ messageId }) => messageId), [1, 2]);
  assertEquals(world.state.fault, null, "nothing is left to try it on");
  assertEquals(at.length, 12, "the first failure needs two tries, the others one");
  // A try takes a minute, the pause between two is at most ten, however many messages wait.
  const pauses = at.slice(1).map((ms, i) => Math.round((ms - at[i]!) / MINUTE));
  assertEquals(pauses.slice(-5), [11, 11, 11, 11, 11]);
});

Deno.test("step() delivers what waited as soon as an agent of a terminal that hung takes a message", () => {
  const world = new CoreWorld({ headless: false, startTimeoutMs: Infinity, window: 1 }).up();
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(2) });
  let hands = 0;
  shrug(world, 10 * MINUTE, (world, deliveryId) => {
    if (++hands <= 2) return;
    const row = [...world.state.rows.values()].find(({ state }) =>
      "deliveryId" in state && state.deliveryId === deliveryId
    )!;
    // Which of them the agent does not take is not known: the trial is the one that has failed least.
    if (hands === 3) {
      assertEquals([row.messageId, row.failures, world.status()?.agentStatus], [2, 0, "error"]);
    }
    world.post({ type: "handed", key: row.key, deliveryId });
    world.provider({ type: "evidence", deliveryId, stage: "placed", evidence: "row" });
    world.provider({ type: "evidence", deliveryId, stage: "seen", evidence: "row" });
    world.provider({ type: "done", deliveryIds: [deliveryId], text: "", evidence: "row" });
  });
  assertEquals(world.of("deliver").map(({ message: { id } }) => id), [1, 1, 2, 1]);
  assertEquals([...world.state.rows.values()].map(({ state }) => state.state), ["done", "done"]);
  assertEquals(world.state.fault, null);
});

Deno.test("step() gives up a message that the agent refuses five times, and goes on with the others", () => {
  const world = new CoreWorld().up();
  for (const id of [1, 2, 3]) world.post({ type: "offered", message: message(id) });
  const refused = (deliveryId: string) => {
    const row = [...world.state.rows.values()].find(({ state }) =>
      "deliveryId" in state && state.deliveryId === deliveryId
    )!;
    if (row.messageId === 1) {
      world.post({ type: "hand.failed", key: row.key, deliveryId, reason: "refused: -32603" });
      return;
    }
    world.provider({ type: "evidence", deliveryId, stage: "placed", evidence: "item" });
    world.provider({ type: "done", deliveryIds: [deliveryId], text: "", evidence: "result" });
  };
  shrug(world, 10 * MINUTE, (_, deliveryId) => refused(deliveryId));
  assertEquals([...world.state.dead.values()].map(({ messageId, state }) => [messageId, state]), [
    [1, { state: "dead", reason: "refused: -32603" }],
  ]);
  const order = world.of("deliver").map(({ message: { id } }) => id);
  assertEquals(order, [1, 1, 1, 1, 1, 2, 3]);
  assertEquals(world.of("stop-provider"), [], "the agent is fine");
});
