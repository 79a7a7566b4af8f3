import { assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import type { CommandUpdatePayload } from "../../lib/protocol/frames.ts";
import type { StageReport } from "../../lib/protocol/message.ts";
import { Outbox } from "../../lib/runner/outbox.ts";
import type { CallResult, RelayBus } from "../../lib/sdk/contract.ts";

/** A bus that only takes reports and updates; the rest is never called by an outbox. */
function fakeBus() {
  const sent: string[] = [];
  const state = { up: true };
  const answer = (): Promise<CallResult<null>> =>
    Promise.resolve(
      state.up ? { ok: true, value: null } : { ok: false, kind: "unavailable", message: "down" },
    );
  const bus = {
    get transportState() {
      return { state: state.up ? "registered" : "connecting" };
    },
    updateCommand(update: CommandUpdatePayload) {
      if (state.up) sent.push(update.status);
      return answer();
    },
    reportStages(reports: StageReport[]) {
      if (state.up) { for (const report of reports) sent.push(report.stage); }
      return answer();
    },
  } as unknown as RelayBus;
  return { bus, sent, state };
}

const update = (status: CommandUpdatePayload["status"]): CommandUpdatePayload => ({ commandId: "c", status });
const report = (stage: StageReport["stage"]): StageReport => ({ messageId: 1, agentId: "a", stage, at: 0 });

Deno.test("an outbox sends what is queued in the very step in which it found itself empty", async () => {
  const { bus, sent } = fakeBus();
  const outbox = new Outbox(bus, noLog);
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
  const outbox = new Outbox(bus, noLog);
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
