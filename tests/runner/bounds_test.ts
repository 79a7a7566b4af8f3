import { assert, assertEquals } from "@std/assert";
import { Agenda } from "../../lib/base/agenda.ts";
import { LOCAL_STORE } from "../../lib/inbox/core/row.ts";
import { CONFIG, CoreWorld, message, STORE } from "./core_world.ts";

const KIB = "x".repeat(1024);

Deno.test("step() keeps ids and lets texts go beyond its bytes, and fetches each when its turn comes, in order", () => {
  const world = new CoreWorld({ maxBodyBytes: 2 * 1024, maxQueue: 100 }).up();
  for (let id = 1; id <= 5; id++) world.post({ type: "offered", message: message(id, { body: KIB }) });
  assertEquals([1, 2, 3, 4, 5].map((id) => world.row(id)!.shed), [false, false, true, true, true]);
  assertEquals(world.state.bodyBytes, 2 * 1024);
  for (const { row } of world.of("persist")) assert(!row.shed || row.message!.body === "");
  for (let id = 1; id <= 5; id++) {
    const fetch = world.of("fetch").at(-1);
    if (id > 2) {
      assertEquals([fetch?.messageId, world.of("deliver").length], [id, id - 1], "it waits for its text");
      world.post({ type: "fetch.failed", key: fetch!.key, reason: "503" });
      assert(world.tick(60_000));
      assertEquals(world.of("fetch").length, 2 * (id - 2), "asked again after a back-off");
      world.post({ type: "fetched", key: fetch!.key, message: message(id, { body: KIB + id }) });
    }
    const sent = world.of("deliver").at(-1)!;
    assertEquals([sent.message.id, sent.message.body], [id, id > 2 ? KIB + id : KIB]);
    world.provider({ type: "evidence", deliveryId: sent.deliveryId, stage: "seen", evidence: "s" });
    world.provider({ type: "done", deliveryIds: [sent.deliveryId], text: "", evidence: "d" });
    world.post({ type: "acked", keys: [`${STORE}/${id}`] });
  }
  assertEquals([world.state.bodyBytes, world.state.rows.size], [0, 0]);
});

Deno.test("step() ends a message whose text the relay no longer has, and never lets a prompt's text go", () => {
  const world = new CoreWorld({ maxBodyBytes: 0 }).up();
  world.provider({ type: "fault", reason: "login" });
  world.post({ type: "offered", message: message(1) });
  world.post({ type: "offered", message: message(7, { storeId: LOCAL_STORE, to: CONFIG.agentId }) });
  world.post({ type: "memory", pressure: "soft", rssBytes: 1 });
  assertEquals([...world.state.rows.values()].map((row) => [row.messageId, row.shed]), [[1, true], [
    7,
    false,
  ]]);
  world.provider({ type: "fault", reason: null });
  assertEquals(
    world.of("deliver").map((effect) => effect.message.body),
    ["body 7"],
    "the prompt comes first",
  );
  world.provider({ type: "done", deliveryIds: [world.delivery], text: "", evidence: "d" });
  assertEquals(world.of("fetch").map((effect) => effect.messageId), [1]);
  world.post({ type: "fetched", key: `${STORE}/1`, message: null });
  assertEquals(world.row(1), undefined);
  assertEquals(world.of("persist").at(-1)?.row.state.state, "skipped");
});

Deno.test("step() gives texts back when memory is short, and ends in order when it is used up", () => {
  const world = new CoreWorld({ maxQueue: 5_000 }).up();
  for (let id = 1; id <= 3_000; id++) world.post({ type: "offered", message: message(id, { body: KIB }) });
  assertEquals(world.state.bodyBytes, 3_000 * 1024);
  world.post({ type: "memory", pressure: "soft", rssBytes: 200 * 1024 * 1024 });
  assert(world.state.bodyBytes <= 1024 * 1024 + 1024, String(world.state.bodyBytes));
  world.post({ type: "memory", pressure: "hard", rssBytes: 600 * 1024 * 1024 });
  assertEquals(world.of("stop-provider").map((effect) => effect.graceful), [false]);
  world.post({ type: "exited", incarnation: 1, status: { code: 137, signal: "SIGKILL" } });
  assertEquals(world.of("exit").map(({ outcome }) => outcome.cause), [
    { kind: "error", code: "E_INTERNAL", message: "the runner uses 600 MiB of memory" },
  ]);
});

/** Counts how often the maps of the state are walked while one message goes through a queue of `length`. */
function walked(length: number, claimable: boolean): number {
  const world = new CoreWorld({ maxQueue: 20_000, window: 64 }).up();
  world.provider({ type: "fault", reason: "login" });
  const to = claimable ? { claimable, to: "cap:review" } : {};
  for (let id = 1; id <= length; id++) world.post({ type: "offered", message: message(id, to) });
  world.provider({ type: "fault", reason: null });
  let steps = 0;
  const { state } = world;
  for (const name of ["rows", "leases"] as const) {
    const map = state[name] as Map<string, unknown>;
    for (const method of ["values", "keys", "entries", Symbol.iterator] as const) {
      const original = Map.prototype[method] as () => IterableIterator<unknown>;
      Object.defineProperty(map, method, {
        value: function* () {
          for (const item of original.call(map)) {
            steps++;
            yield item;
          }
        },
      });
    }
  }
  for (let i = 0; i < 50; i++) {
    world.post({ type: "tick" });
    if (claimable) {
      const claim = world.of("claim").at(-1)!;
      world.post({ type: "claim.won", key: claim.key, sentAt: world.mono, leaseMs: 60_000 });
    }
    const sent = world.of("deliver").at(-1)!;
    world.provider({ type: "evidence", deliveryId: sent.deliveryId, stage: "seen", evidence: "s" });
    world.provider({ type: "done", deliveryIds: [sent.deliveryId], text: "", evidence: "d" });
    world.post({ type: "acked", keys: [sent.key] });
  }
  return steps;
}

Deno.test("step() costs the same for a message in a queue of 100 and of 10,000", () => {
  for (const claimable of [false, true]) assertEquals(walked(100, claimable), walked(10_000, claimable));
});

Deno.test("step() releases held messages without a walk through the queue, in their order", () => {
  const world = new CoreWorld({ window: 3, maxQueue: 100 }).up();
  for (let id = 1; id <= 6; id++) world.post({ type: "offered", message: message(id) });
  const first = world.of("deliver").map((effect) => effect.deliveryId);
  world.provider({ type: "failed", deliveryIds: [...first].reverse(), failure: "provider", reason: "quota" });
  assertEquals(world.state.held.size, 3);
  world.provider({ type: "fault", reason: null });
  assertEquals(world.of("deliver").slice(3).map((effect) => effect.message.id), [1, 2, 3]);
  assertEquals(world.state.held.size, 0);
});

Deno.test("step() repeats what the receipts of an earlier run's messages may lack", () => {
  const before = new CoreWorld({ window: 2 }).up();
  for (const id of [1, 2, 3]) before.post({ type: "offered", message: message(id) });
  before.provider({
    type: "evidence",
    deliveryId: before.delivery,
    stage: "placed",
    evidence: "queue entry",
  });
  const world = new CoreWorld({}, { open: [...before.state.rows.values()], incarnation: 1 });
  world.post({ type: "start" });
  world.post({ type: "bus.up", storeId: STORE });
  const told = world.of("report").map(({ report }) => [report.messageId, report.stage, report.evidence]);
  assertEquals(told, [
    [1, "received", "journaled"],
    [2, "received", "journaled"],
    [2, "placed", "queue entry"],
    [3, "received", "journaled"],
  ]);
  const placed = (each: CoreWorld) =>
    each.of("report").find(({ report }) => report.stage === "placed")!.report;
  assertEquals(placed(world), placed(before), "the very same line, so that the relay knows it");
  world.post({ type: "bus.down", reason: "network", auth: false });
  world.post({ type: "bus.up", storeId: STORE });
  assertEquals(world.of("report").length, 4, "once");
});

Deno.test("an agenda gives keys by time, forgets moved ones and puts taken ones off", () => {
  const agenda = new Agenda();
  // Against a plain list: 3,000 random changes.
  const plain = new Map<string, number>();
  let seed = 7;
  const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  let taken = 0;
  for (let i = 0; i < 3_000; i++) {
    const key = `k${Math.floor(random() * 50)}`;
    const what = random();
    if (what < 0.6) {
      const at = Math.floor(random() * 1_000);
      agenda.set(key, at);
      plain.set(key, at);
    } else if (what < 0.8) {
      agenda.delete(key);
      plain.delete(key);
    } else {
      const now = Math.floor(random() * 1_000);
      const due = [...plain].filter(([, at]) => at <= now).map(([each]) => each);
      for (const each of due) plain.set(each, Infinity);
      taken += due.length;
      assertEquals(agenda.take(now).sort(), due.sort());
    }
    assertEquals([agenda.size, agenda.next()], [plain.size, Math.min(Infinity, ...plain.values())]);
  }
  assert(taken > 100, String(taken));
  agenda.hasten(-5);
  assertEquals(agenda.take(-5).length, plain.size);
});
