import { assert, assertEquals } from "@std/assert";
import { deliveryIdOf } from "../../lib/base/uuid.ts";
import { receivedRow } from "../../lib/inbox/core/row.ts";
import { CONFIG, message, STORE } from "../runner/core_world.ts";
import { CodexLane } from "../support/codex_lane.ts";
import { obeyText } from "../support/fake_turn.ts";
import { PatientClock } from "../support/patient_clock.ts";
import { until, withTempDir } from "../support/temp.ts";

/** A run that takes up a thread in whose queue an earlier one left a message. Returns the texts that became turns. */
async function takeUp(claimable: boolean): Promise<{ turns: string[]; queued: number }> {
  return await withTempDir(async (dir) => {
    const clock = new PatientClock(40);
    const deliveryId = deliveryIdOf(STORE, CONFIG.agentId, 1, 1, 0);
    const open = [{
      ...receivedRow(message(1, { claimable, ...(claimable ? { to: "cap:review" } : {}) }), 1),
      state: { state: "delivering" as const, deliveryId, incarnation: 1 },
    }];
    const lane = new CodexLane({
      dir,
      clock,
      model: obeyText,
      random: () => 0.5,
      left(store) {
        const { id, queue } = Object.assign(store.create({ threadSource: null, ephemeral: false }), {
          rollout: true,
        });
        queue.push({ id: "entry", input: [{ text: "mark-1 work" }], clientUserMessageId: deliveryId });
        return { open, resume: id };
      },
    });
    const [thread] = lane.store.threads.values();
    assert(thread !== undefined);
    try {
      lane.start();
      await lane.untilIdle();
      const turns = thread.turns.flatMap(({ items }) =>
        items.flatMap((item) => item.type === "userMessage" ? [item.content?.[0]?.text ?? ""] : [])
      );
      return { turns, queued: thread.queue.length };
    } finally {
      await lane.dispose();
      clock.stop();
    }
  });
}

Deno.test("work whose lease is gone is taken out of Codex's queue before the thread is taken up, mail is not", async () => {
  assertEquals(await takeUp(true), { turns: [], queued: 0 });
  assertEquals(await takeUp(false), { turns: ["mark-1 work"], queued: 0 });
});

Deno.test("a Codex that nobody has logged in is ready, says what is wrong, and tries one message at a time", async () => {
  await withTempDir(async (dir) => {
    const clock = new PatientClock(40);
    const lane = new CodexLane({ dir, clock, model: obeyText, random: () => 0.5, loggedOut: true });
    try {
      lane.start();
      await until("the error", () => lane.status === "error");
      const view = lane.runner.view();
      assertEquals(view.fault, "codex is not logged in; run codex login");
      assertEquals(view.status.meta?.reason, view.fault);
      assertEquals(view.status.ready, false);
    } finally {
      await lane.dispose();
      clock.stop();
    }
  });
});
