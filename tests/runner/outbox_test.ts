import { assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import type { CommandUpdatePayload } from "../../lib/protocol/frames.ts";
import type { StageReport } from "../../lib/protocol/message.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { Outbox, type StoreReport } from "../../lib/runner/outbox.ts";
import type { CallResult, RelayBus } from "../../lib/sdk/contract.ts";

/** A bus that only takes reports and updates; the rest is never called by an outbox. */
function fakeBus() {
  const sent: string[] = [];
  const state = { up: true, answers: true, storeId: "s" };
  const answer = (): Promise<CallResult<null>> =>
    Promise.resolve(
      state.up && state.answers
        ? { ok: true, value: null }
        : { ok: false, kind: "unavailable", message: "down" },
    );
  const bus = {
    get transportState() {
      return { state: state.up ? "registered" : "connecting", registered: { storeId: state.storeId } };
    },
    updateCommand(update: CommandUpdatePayload) {
      if (state.up && state.answers) sent.push(update.status);
      return answer();
    },
    reportStages(reports: StageReport[]) {
      if (state.up && state.answers) { for (const report of reports) sent.push(report.stage); }
      return answer();
    },
  } as unknown as RelayBus;
  return { bus, sent, state };
}

const update = (status: CommandUpdatePayload["status"]): CommandUpdatePayload => ({ commandId: "c", status });
const report = (stage: StageReport["stage"], storeId = "s"): StoreReport => ({
  storeId,
  report: { messageId: 1, agentId: "a", stage, at: 0 },
});

Deno.test("an outbox sends what is queued in the very step in which it found itself empty", async () => {
  const { bus, sent } = fakeBus();
  const outbox = new Outbox({ bus, log: noLog, clock: new FakeClock() });
  outbox.flush();
  outbox.update(update("succeeded"));
  await outbox.flush();
  assertEquals(sent, ["succeeded"]);
  // The same at every microtask around the end of a pump.
  for (let ticks = 0; ticks < 20; ticks++) {
    const pumping = outbox.flush();
    for (let i = 0; i < ticks; i++) await null;
    outbox.report([report("seen")]);
    await pumping;
    await outbox.flush();
  }
  assertEquals(sent.length, 21);
});

Deno.test("an outbox keeps what it could not send, in order, until the bus is up again", async () => {
  const { bus, sent, state } = fakeBus();
  const outbox = new Outbox({ bus, log: noLog, clock: new FakeClock() });
  state.up = false;
  outbox.update(update("accepted"));
  outbox.report([report("received"), report("seen")]);
  outbox.update(update("running"));
  await outbox.flush();
  assertEquals(sent, []);
  state.up = true;
  await outbox.flush();
  assertEquals(sent, ["accepted", "running", "received", "seen"]);
});

Deno.test("an outbox drops reports of a store that the relay does not serve any more", async () => {
  const { bus, sent, state } = fakeBus();
  state.up = false;
  const outbox = new Outbox({ bus, log: noLog, clock: new FakeClock() });
  outbox.report([report("received", "gone"), report("seen")]);
  await outbox.flush();
  state.up = true;
  await outbox.flush();
  assertEquals(sent, ["seen"]);
});

Deno.test("an outbox tries again when a call went unanswered and the link stands", async () => {
  const { bus, sent, state } = fakeBus();
  const clock = new FakeClock();
  const told: string[] = [];
  const outbox = new Outbox({ bus, log: noLog, clock }, (commandId) => told.push(commandId));
  state.answers = false;
  outbox.update(update("succeeded"));
  await outbox.flush();
  assertEquals([sent, told, clock.pending], [[], [], 1]);
  state.answers = true;
  await clock.advance(2_000);
  await outbox.flush();
  assertEquals([sent, told, clock.pending], [["succeeded"], ["c"], 0]);
  state.answers = false;
  outbox.update(update("succeeded"));
  await outbox.flush();
  outbox.stop();
  assertEquals(clock.pending, 0);
});

Deno.test("an outbox that is full leaves out what later lines imply, then the oldest, never what is on its way", async () => {
  const { bus, sent, state } = fakeBus();
  const answers: (() => void)[] = [];
  const held = {
    ...bus,
    get transportState() {
      return bus.transportState;
    },
    async reportStages(reports: StageReport[]) {
      await new Promise<void>((resolve) => answers.push(resolve));
      return await bus.reportStages(reports);
    },
  } as unknown as RelayBus;
  const outbox = new Outbox({ bus: held, log: noLog, clock: new FakeClock() });
  const many = (count: number, stage: StageReport["stage"]) =>
    Array.from({ length: count }, () => report(stage));
  outbox.report(many(500, "received"));
  await null;
  await null;
  assertEquals(answers.length, 1, "the first batch is on its way");
  outbox.report(many(100, "handed"));
  outbox.report(many(19_950, "seen"));
  for (let i = 0; i < 100 && sent.length < 18_000; i++) {
    answers.shift()?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const count = (stage: string) => sent.filter((each) => each === stage).length;
  assertEquals([count("received"), count("handed"), count("seen")], [500, 0, 17_500]);
  assertEquals(state.up, true);
});

Deno.test("an outbox keeps lesser stages 20 ms for what follows them, and sends at once what a sender waits for", async () => {
  const { bus, sent } = fakeBus();
  const clock = new FakeClock();
  const outbox = new Outbox({ bus, log: noLog, clock });
  outbox.report([report("received")]);
  await clock.advance(19);
  assertEquals(sent, []);
  await clock.advance(1);
  assertEquals(sent, ["received"]);
  outbox.report([report("handed")]);
  outbox.report([report("placed"), report("seen")]);
  await outbox.flush();
  assertEquals([sent, clock.pending], [["received", "handed", "placed", "seen"], 0]);
  // Also those that come while others are under way; what is telling takes them along.
  outbox.report([report("seen")]);
  const underWay = outbox.flush();
  await null;
  assertEquals(sent.splice(0).at(-1), "seen");
  outbox.report([report("acked")]);
  await underWay;
  assertEquals([sent, clock.pending], [[], 1]);
  await clock.advance(20);
  assertEquals([sent.splice(0), clock.pending], [["acked"], 0]);
  outbox.report([report("received")]);
  outbox.report([report("dead")]);
  await outbox.flush();
  assertEquals([sent, clock.pending], [["received", "dead"], 0]);
  // The end waits for nothing.
  outbox.report([report("acked")]);
  outbox.stop();
  await outbox.flush();
  assertEquals([sent.at(-1), clock.pending], ["acked", 0]);
});
