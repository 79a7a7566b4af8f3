import { assertEquals } from "@std/assert";
import { waitForReceipt } from "../../lib/cli/wait.ts";
import { progressOf } from "../../lib/sdk/progress.ts";
import type { Receipt, Stage, StageReport } from "../../lib/protocol/message.ts";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { until } from "../support/temp.ts";

/** A receipt whose recipients have got these stages, in this order. */
function receipt(claimable: boolean, ...recipients: StageReport["stage"][][]): Receipt {
  return {
    message: {
      id: 1,
      storeId: "s",
      from: "alice",
      to: "label:api",
      kind: "chat",
      body: "text",
      claimable,
      createdAt: 0,
    },
    version: 1,
    recipients: recipients.map((stages, i) => ({
      agentId: `agent-${i}`,
      read: stages.includes("acked"),
      reports: stages.map((stage, at) => ({ messageId: 1, agentId: `agent-${i}`, stage, at })),
    })),
    replies: [],
  };
}

const states = (given: Receipt, ...wanted: Stage[]) => wanted.map((each) => progressOf(given, each).state);

Deno.test("mail that was acked is seen, and not done before its turn is", () => {
  const acked = receipt(false, ["received", "handed", "placed", "seen", "acked"]);
  assertEquals(states(acked, "seen", "done", "acked"), ["reached", "waiting", "reached"]);
  const waiting = progressOf(acked, "done");
  assertEquals(waiting.state === "waiting" && waiting.missing[0]?.reached, "seen");
  const done = receipt(false, ["received", "handed", "placed", "seen", "acked", "done"]);
  assertEquals(states(done, "seen", "done"), ["reached", "reached"]);
});

Deno.test("mail whose turn failed after the model had it was seen, and will not be done", () => {
  const failed = receipt(false, ["received", "handed", "placed", "seen", "acked", "failed"]);
  assertEquals(states(failed, "seen", "done"), ["reached", "failed"]);
});

Deno.test("claimable work that was acked is done, by the one that did it", () => {
  const work = receipt(true, ["received", "claimed", "handed", "placed", "seen", "acked"], [
    "received",
    "skipped",
  ]);
  assertEquals(states(work, "done", "acked"), ["reached", "reached"]);
  assertEquals(states(receipt(true, ["received", "claimed", "handed", "placed", "seen"]), "done"), [
    "waiting",
  ]);
});

Deno.test("a message for several has reached a stage when all of them have", () => {
  const both = receipt(false, ["received", "seen", "acked", "done"], ["received", "seen", "acked"]);
  assertEquals(states(both, "seen", "done"), ["reached", "waiting"]);
});

Deno.test("a wait asks a relay that is busy again when it said so, else after half a second", async () => {
  const busy = [429, 503];
  const asked: number[] = [];
  const clock = new FakeClock();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    asked.push(clock.mono());
    const status = busy.shift();
    if (status === undefined) return Response.json(receipt(false, ["received", "seen", "acked", "done"]));
    const after = status === 429 ? "5" : "soon";
    return Response.json({ error: "busy", code: "E_RATE" }, { status, headers: { "retry-after": after } });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  const http = new RelayHttpClient({ url, token: null });
  const wait = { until: "done", reply: false, timeoutMs: 60_000 } as const;
  const waiting = waitForReceipt({ http, url, messageId: 1, wait, clock, onChange: () => {} });
  for (const ms of [5_000, 500]) {
    await until("the pause", () => clock.pending === 1);
    await clock.advance(ms - 1);
    assertEquals(clock.pending, 1);
    await clock.advance(1);
  }
  assertEquals((await waiting).receipt.recipients.length, 1);
  assertEquals(asked, [0, 5_000, 5_500]);
  busy.push(429);
  const { ok, ...failure } = await http.receipt(1);
  assertEquals([ok, failure], [false, { kind: "unavailable", message: "busy", retryAfterMs: 5_000 }]);
  await server.shutdown();
});
