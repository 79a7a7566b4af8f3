import { assert, assertEquals } from "@std/assert";
import { LOCAL_STORE } from "../../lib/inbox/core/row.ts";
import type { Message } from "../../lib/protocol/message.ts";
import { type Goal, reportOf, SERVE } from "../../lib/runner/core/goal.ts";
import type { CoreConfig, Effect, ExitOutcome } from "../../lib/runner/core/types.ts";
import { CONFIG, CoreWorld, message, STORE } from "./core_world.ts";

const prompt: Message = {
  id: 7,
  storeId: LOCAL_STORE,
  from: "operator",
  to: CONFIG.agentId,
  kind: "prompt",
  body: "the prompt",
  claimable: false,
  createdAt: 1,
};

function world(goal: Partial<Goal>, change: Partial<CoreConfig> = {}): CoreWorld {
  return new CoreWorld({ goal: { ...SERVE, ...goal }, ...change });
}

const done = (id: string, costUsd?: number) => ({
  type: "done" as const,
  deliveryIds: [id],
  text: "the answer",
  evidence: "e",
  ...(costUsd === undefined ? {} : { costUsd }),
});

const seen = (id: string) => ({
  type: "evidence" as const,
  deliveryId: id,
  stage: "seen" as const,
  evidence: "e",
});

/** Lets the provider end and returns how the run ended, null when it goes on. */
function outcomeOf(w: CoreWorld): ExitOutcome["cause"] | null {
  if (w.of("stop-provider").length > 0) {
    w.post({ type: "exited", incarnation: w.state.incarnation, status: { code: 0, signal: null } });
  }
  return w.of("exit").at(-1)?.outcome.cause ?? null;
}

Deno.test("a job with a prompt ends when its turn is done, and leaves what the bus has to others", () => {
  const w = world({ once: "prompt" }).up();
  w.post({ type: "offered", message: message(1) });
  assertEquals(w.of("deliver"), [], "a message of the bus is not the job's work");
  w.post({ type: "offered", message: prompt });
  assertEquals(w.of("deliver").map((each) => each.message.body), ["the prompt"]);
  w.post({ type: "offered", message: message(2) });
  assertEquals(w.row(2), undefined, "a job at work takes nothing more");
  w.provider(seen(w.delivery));
  assertEquals(w.state.phase.phase, "running");
  w.provider(done(w.delivery));
  assertEquals(outcomeOf(w), { kind: "completed" });
  const report = reportOf(w.state);
  assertEquals([report.work, report.text, report.messages.done], ["done", "the answer", 1]);
});

Deno.test("a job without a prompt does the first message and ends only after the relay knows of it", () => {
  const w = world({ once: "message" }).up();
  assertEquals(w.tick(), false, "nothing is due while it waits");
  w.post({ type: "offered", message: message(1) });
  w.post({ type: "offered", message: message(2) });
  const delivery = w.delivery;
  w.provider(seen(delivery));
  w.provider(done(delivery));
  assertEquals(w.of("deliver").length, 1, "one message is one job");
  assertEquals(w.state.phase.phase, "running", "the ack is still under way");
  w.post({ type: "acked", keys: w.of("ack").map((each) => each.key) });
  assertEquals(outcomeOf(w), { kind: "completed" });
});

Deno.test("a job whose relay went away after the work waits 30 s for it and ends well", () => {
  const w = world({ once: "message" }).up();
  w.post({ type: "offered", message: message(1) });
  w.provider(seen(w.delivery));
  w.post({ type: "bus.down", reason: "network", auth: false });
  w.provider(done(w.delivery));
  const before = w.mono;
  assert(w.tick());
  assertEquals(w.mono - before, 30_000);
  assertEquals(w.of("log").map((each) => [each.level, each.message]), [
    ["warn", "the work is done but the relay does not know of it, and may offer it again"],
  ]);
  assertEquals(outcomeOf(w), { kind: "completed" });
});

Deno.test("a job takes the next message when another agent won the claim of the first", () => {
  const w = world({ once: "message" }).up();
  w.post({ type: "offered", message: message(1, { claimable: true }) });
  w.post({ type: "claim.lost", key: w.of("claim")[0]!.key });
  w.post({ type: "offered", message: message(2) });
  assertEquals(w.of("deliver").map((each) => each.message.id), [2]);
});

Deno.test("a failed job names its reason: a held queue, a failed turn after an answer, a dead letter", () => {
  const cases: [string, (w: CoreWorld) => void][] = [
    [
      "login",
      (w) => w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "provider", reason: "login" }),
    ],
    ["cut off", (w) => {
      w.provider(seen(w.delivery));
      w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "transient", reason: "cut off" });
    }],
    [
      "too long",
      (w) =>
        w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "message", reason: "too long" }),
    ],
    ["not logged in", (w) => w.provider({ type: "fault", reason: "not logged in" })],
  ];
  for (const [reason, fail] of cases) {
    const w = world({ once: "prompt" }).up();
    w.post({ type: "offered", message: prompt });
    fail(w);
    assertEquals(outcomeOf(w), { kind: "error", code: "E_TURN_FAILED", message: reason });
  }
});

Deno.test("a transient failure is no failed job: it is tried again, and only the fifth time it is over", () => {
  const w = world({ once: "prompt" }).up();
  w.post({ type: "offered", message: prompt });
  let tries = 0;
  while (outcomeOf(w) === null) {
    tries++;
    w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "transient", reason: "500" });
    if (w.of("deliver").length === tries && outcomeOf(w) === null) assert(w.tick());
  }
  assertEquals([tries, w.of("deliver").length], [5, 5]);
  assertEquals(outcomeOf(w), { kind: "error", code: "E_TURN_FAILED", message: "500" });
});

Deno.test("limits end the run at once: time, turns, cost, and what the provider itself has kept", () => {
  const limits: [Partial<Goal>, string, (w: CoreWorld) => void][] = [
    [{ maxTimeMs: 60_000 }, "the time limit of 1m is reached", (w) => {
      const started = w.state.run.startedAt!;
      assert(w.tick());
      assertEquals(w.mono - started, 60_000);
    }],
    [{ maxTurns: 2 }, "the limit of 2 turns is reached", (w) => {
      for (let turn = 1; turn <= 3; turn++) {
        assertEquals(w.of("stop-provider").length, 0, `before turn ${turn}`);
        w.provider({ type: "turn" });
      }
    }],
    [{ maxCostUsd: 0.5 }, "the cost limit of 0.5 USD is reached", (w) => {
      w.provider({ type: "failed", deliveryIds: [], failure: "transient", reason: "x", costUsd: 0.4 });
      assertEquals(w.of("stop-provider").length, 0);
      w.provider({ type: "failed", deliveryIds: [], failure: "transient", reason: "x", costUsd: 0.1 });
    }],
    [
      {},
      "budget",
      (w) => w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "limit", reason: "budget" }),
    ],
  ];
  for (const [goal, reason, reach] of limits) {
    const w = world({ once: "prompt", ...goal }).up();
    w.post({ type: "offered", message: prompt });
    w.provider({ type: "activity", activity: "busy" });
    reach(w);
    assertEquals(
      w.of("stop-provider"),
      [{ type: "stop-provider", graceful: true, timeoutMs: 10_000 }],
      reason,
    );
    assertEquals(outcomeOf(w), { kind: "error", code: "E_LIMIT", message: reason });
  }
});

Deno.test("an agent that serves ends between two messages when its turns are used up", () => {
  const w = world({ maxTurns: 1 }).up();
  w.post({ type: "offered", message: message(1) });
  w.provider({ type: "turn" });
  assertEquals(w.of("stop-provider").length, 0, "the turn may end");
  w.provider(seen(w.delivery));
  w.provider(done(w.delivery));
  w.post({ type: "offered", message: message(2) });
  assertEquals(w.of("deliver").length, 1);
  assertEquals(outcomeOf(w), { kind: "error", code: "E_LIMIT", message: "the limit of 1 turn is reached" });
});

Deno.test("--exit-on-idle counts from the end of the last work and not while anything is under way", () => {
  const w = world({ exitOnIdleMs: 5_000 }).up();
  w.after(4_000);
  w.post({ type: "offered", message: message(1) });
  w.provider({ type: "activity", activity: "busy" });
  w.after(20_000);
  assertEquals(w.state.phase.phase, "running", "a turn is no idleness");
  w.provider(seen(w.delivery));
  w.provider(done(w.delivery));
  w.provider({ type: "activity", activity: "idle" });
  w.after(20_000);
  assertEquals(w.state.phase.phase, "running", "the relay does not know of it yet");
  w.post({ type: "acked", keys: w.of("ack").map((each) => each.key) });
  w.after(4_999);
  assertEquals(w.state.phase.phase, "running");
  assert(w.tick());
  assertEquals(outcomeOf(w), { kind: "completed" });
});

Deno.test("an idle end is no success when a message failed, the provider is at fault or the relay never was there", () => {
  const failed = world({ exitOnIdleMs: 1_000 }).up();
  failed.post({ type: "offered", message: message(1) });
  failed.provider({ type: "failed", deliveryIds: [failed.delivery], failure: "message", reason: "bad" });
  failed.after(1_000);
  assertEquals(outcomeOf(failed), {
    kind: "error",
    code: "E_TURN_FAILED",
    message: "1 of 1 messages failed: bad",
  });

  const held = world({ exitOnIdleMs: 1_000 }).up();
  held.post({ type: "offered", message: message(1) });
  held.provider({ type: "failed", deliveryIds: [held.delivery], failure: "provider", reason: "401" });
  held.after(1_000);
  assertEquals(outcomeOf(held), { kind: "error", code: "E_TURN_FAILED", message: "401" });

  for (const [auth, code] of [[false, "E_RELAY_UNREACHABLE"], [true, "E_RELAY_AUTH"]] as const) {
    const alone = world({ exitOnIdleMs: 1_000 });
    alone.post({ type: "start" });
    alone.post({ type: "bus.down", reason: "network", auth });
    alone.post({ type: "spawned", incarnation: 1 });
    alone.provider({ type: "ready", resume: null });
    alone.after(1_000);
    const cause = outcomeOf(alone);
    assertEquals(cause?.kind === "error" ? cause.code : cause, code);
  }
});

Deno.test("with a connect timeout no work begins before the relay was reached, and the job ends when it is not", () => {
  const start = () => {
    const w = world({ once: "prompt", connectTimeoutMs: 3_000 });
    w.post({ type: "start" });
    w.post({ type: "offered", message: prompt });
    w.post({ type: "spawned", incarnation: 1 });
    w.provider({ type: "ready", resume: null });
    return w;
  };
  const late = start();
  assertEquals(late.of("deliver"), []);
  assert(late.tick());
  assertEquals(outcomeOf(late), {
    kind: "error",
    code: "E_RELAY_UNREACHABLE",
    message: "the relay was not reached within 3s",
  });
  const up = start();
  up.post({ type: "bus.up", storeId: STORE });
  assertEquals(up.of("deliver").length, 1);
  up.after(10_000);
  assertEquals(up.state.phase.phase, "running");
  const refused = start();
  refused.post({ type: "bus.down", reason: "auth", auth: true });
  assertEquals(outcomeOf(refused), {
    kind: "error",
    code: "E_RELAY_AUTH",
    message: "the relay refuses the token",
  });
});

Deno.test("without a connect timeout a job with a prompt waits for one try of its relay and does not need it", () => {
  const w = world({ once: "prompt" });
  w.post({ type: "start" });
  w.post({ type: "spawned", incarnation: 1 });
  w.provider({ type: "ready", resume: null });
  w.post({ type: "offered", message: prompt });
  assertEquals(w.of("deliver"), []);
  w.post({ type: "bus.down", reason: "network", auth: false });
  w.provider(seen(w.delivery));
  w.provider(done(w.delivery));
  assertEquals(outcomeOf(w), { kind: "completed" });
});

Deno.test("a prompt belongs to its run: the next run skips it and begins a conversation of its own", () => {
  const first = world({ once: "prompt" }).up();
  first.post({ type: "offered", message: prompt });
  first.provider(seen(first.delivery));
  const open = [...first.state.rows.values()];
  assertEquals(open.length, 1);
  const second = new CoreWorld({ goal: { ...SERVE, once: "prompt" }, conversation: "new" }, {
    open,
    resume: "old",
    incarnation: 3,
  });
  const started: Effect[] = second.post({ type: "start" });
  assertEquals(second.of("persist", started).map((each) => each.row.state.state), ["skipped"]);
  assertEquals(second.of("spawn").map((each) => each.resume), [null]);
  assertEquals(second.state.flight.size, 0);
});

Deno.test("a job goes on with the message that was in hand when its runner died", () => {
  const first = world({ once: "message" }).up();
  first.post({ type: "offered", message: message(1) });
  const delivery = first.delivery;
  const open = [...first.state.rows.values()];
  const second = new CoreWorld({ goal: { ...SERVE, once: "message" } }, {
    open,
    resume: "old",
    incarnation: 3,
  }).up();
  second.post({ type: "offered", message: message(2) });
  assert(second.tick(), "the record is asked");
  const results = new Map([[delivery, { state: "done" as const, evidence: "record", text: "said" }]]);
  second.post({ type: "probed", incarnation: second.state.incarnation, results });
  second.post({ type: "acked", keys: second.of("ack").map((each) => each.key) });
  assertEquals(second.of("deliver"), []);
  assertEquals(outcomeOf(second), { kind: "completed" });
});

Deno.test("the first signal during the end of a job lets it end, the second ends everything", () => {
  const w = world({ once: "prompt" }).up();
  w.post({ type: "offered", message: prompt });
  w.provider({ type: "activity", activity: "busy" });
  w.provider(seen(w.delivery));
  w.provider(done(w.delivery));
  assertEquals(
    w.post({ type: "signal", signal: "SIGINT" }).filter((each) => each.type === "stop-provider"),
    [],
  );
  const hard = w.post({ type: "signal", signal: "SIGTERM" });
  assertEquals(w.of("stop-provider", hard), [{ type: "stop-provider", graceful: false, timeoutMs: 0 }]);
});

Deno.test("a turn that the end of the run cut off is unfinished work, one that failed within the drain is failed work", () => {
  const drained = (failAfterMs: number) => {
    const w = world({ once: "prompt" }).up();
    w.post({ type: "offered", message: prompt });
    w.provider({ type: "activity", activity: "busy" });
    w.provider(seen(w.delivery));
    w.post({ type: "signal", signal: "SIGTERM" });
    w.after(failAfterMs);
    w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "cancelled", reason: "interrupted" });
    w.provider({ type: "activity", activity: "idle" });
    assertEquals(outcomeOf(w), { kind: "drained" });
    const { work, signal } = reportOf(w.state);
    return [work, signal];
  };
  assertEquals(drained(CONFIG.drainTimeoutMs), ["begun", "SIGTERM"]);
  assertEquals(drained(1_000), ["failed", "SIGTERM"]);
});

Deno.test("a job takes one of the messages that wait, also with a provider that takes many at once", () => {
  const w = world({ once: "message" }, { window: 64 });
  w.post({ type: "start" });
  w.post({ type: "bus.up", storeId: STORE });
  for (const id of [1, 2, 3]) w.post({ type: "offered", message: message(id) });
  w.post({ type: "spawned", incarnation: 1 });
  w.provider({ type: "ready", resume: null });
  assertEquals(w.of("deliver").map((each) => each.message.id), [1]);
});

Deno.test("a job that lost its claim in the middle of the work does another message", () => {
  const w = world({ once: "message" }).up();
  w.post({ type: "offered", message: message(1, { claimable: true }) });
  const { key } = w.of("claim")[0]!;
  w.post({ type: "claim.won", key, sentAt: w.mono, leaseMs: 60_000 });
  w.provider(seen(w.delivery));
  w.post({ type: "claim.lost", key });
  assertEquals(w.state.phase.phase, "running");
  w.post({ type: "offered", message: message(2) });
  // The turn that was interrupted has ended.
  w.provider({ type: "activity", activity: "idle" });
  assertEquals(w.of("deliver").map((each) => each.message.id), [1, 2]);
});

Deno.test("a relay that was missed once holds up a job only when its reaching was asked for", () => {
  for (const connectTimeoutMs of [null, 60_000]) {
    const w = world({ once: "prompt", connectTimeoutMs });
    w.post({ type: "start" });
    w.post({ type: "offered", message: prompt });
    w.post({ type: "spawned", incarnation: 1 });
    w.provider({ type: "ready", resume: null });
    w.post({ type: "bus.down", reason: "network", auth: false });
    assertEquals(w.of("deliver").length, connectTimeoutMs === null ? 1 : 0);
    w.post({ type: "bus.up", storeId: STORE });
    assertEquals(w.of("deliver").length, 1);
  }
});

Deno.test("a login that is refused within the drain is failed work, not a cancelled job", () => {
  const w = world({ once: "prompt" }).up();
  w.post({ type: "offered", message: prompt });
  w.provider({ type: "activity", activity: "busy" });
  w.post({ type: "signal", signal: "SIGTERM" });
  w.provider({ type: "failed", deliveryIds: [w.delivery], failure: "provider", reason: "401" });
  w.provider({ type: "activity", activity: "idle" });
  assertEquals(outcomeOf(w), { kind: "drained" });
  assertEquals([reportOf(w.state).work, reportOf(w.state).failure], ["failed", "401"]);
});

Deno.test("what was handed over and what waits for its next attempt keeps an agent from being idle", () => {
  const handed = world({ exitOnIdleMs: 500 }).up();
  handed.post({ type: "offered", message: message(1) });
  handed.after(5_000);
  handed.after(5_000);
  assertEquals(handed.state.phase.phase, "running", "the provider has it and has not said that it is busy");
  const retried = world({ exitOnIdleMs: 500 }).up();
  retried.post({ type: "offered", message: message(1) });
  retried.provider({ type: "failed", deliveryIds: [retried.delivery], failure: "transient", reason: "500" });
  retried.after(900);
  assertEquals(retried.state.phase.phase, "running", "its back-off is a second");
  retried.after(200);
  assertEquals(retried.of("deliver").length, 2);
});

Deno.test("a job whose journal cannot be written ends before its work instead of a wait for room", () => {
  const w = world({ once: "message" }).up();
  w.post({ type: "storage", ok: false, reason: "ENOSPC" });
  assertEquals(outcomeOf(w), {
    kind: "error",
    code: "E_STATE_WRITE",
    message: "the journal cannot be written: ENOSPC",
  });
});

Deno.test("a job whose agent does not begin twice ends at once, with what the agent said", () => {
  const status = { code: 1, signal: null, lastWords: "unknown option --x" };
  const w = world({ once: "prompt" });
  w.post({ type: "start" });
  w.post({ type: "exited", incarnation: 1, status });
  w.after(60_000);
  w.post({ type: "exited", incarnation: 2, status });
  assertEquals(outcomeOf(w), {
    kind: "error",
    code: "E_PROVIDER_CMD",
    message: "the provider cannot be started (exit code 1: unknown option --x)",
  });
  // One that serves is tried again, as is one that had begun.
  const again = (w: CoreWorld) => {
    const before = w.of("spawn").length;
    for (let i = 0; i < 2; i++) {
      w.post({ type: "exited", incarnation: w.state.incarnation, status });
      assertEquals(
        w.status()?.meta?.reason,
        "provider ended (exit code 1: unknown option --x), starting it again",
      );
      w.after(60_000);
    }
    return w.of("spawn").length - before;
  };
  const serves = world({});
  serves.post({ type: "start" });
  assertEquals([again(serves), again(world({ once: "prompt" }).up())], [2, 2]);
});
