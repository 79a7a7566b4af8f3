import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { httpOf, TestAgent, testRelay } from "../support/relay_world.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { slowPlans, statementsOf } from "../support/query_plans.ts";
import { withTempDir } from "../support/temp.ts";

/** What a person asks for, with a limit, and the few commands that wait for one component. */
const SMALL =
  /^SELECT \* FROM command ORDER BY created_at DESC LIMIT 200$|^SELECT \* FROM command WHERE status IN|thread_id = \?/;

Deno.test("the relay finds its rows by an index, whatever it keeps", async () => {
  await withTempDir(async (dir) => {
    const statements = await statementsOf(async () => {
      const relay = await testRelay(dir);
      const http = httpOf(relay);
      const agent = await new TestAgent(relay.url, "a", { label: "api", tags: ["x"] }).join();
      const send = async (to: string, more: object = {}) => {
        const sent = await http.send({
          from: "sender",
          to,
          body: "m",
          idempotencyKey: crypto.randomUUID(),
          ...more,
        });
        assert(sent.ok, to);
        return sent.value.message.id;
      };
      const first = await send("a");
      await send("label:api", { replyTo: first });
      await send("tag:none", { queue: true, ttlMs: 1_000 });
      const work = await send("a", { kind: "task", claimable: true });
      assert((await agent.bus.claim(work)).ok);
      assert((await agent.bus.renew(work)).ok);
      assert((await agent.bus.release(work)).ok);
      assert((await agent.bus.markRead([first])).ok);
      const report = (stage: "seen" | "dead", messageId: number) => ({
        messageId,
        agentId: "a",
        stage,
        at: 1,
      });
      assert((await agent.bus.reportStages([report("seen", first), report("dead", work)])).ok);
      assert((await http.receipt(first)).ok);
      assert((await http.thread(first)).ok);
      assert((await http.getMessage(first)).ok);
      assert((await http.listUnread("a", { limit: 10 })).ok);
      assert((await http.listDead({ agentId: "a", limit: 10 })).ok);
      assert((await http.listAgents({})).ok);
      const letter = { messageId: work, agentId: "a", generation: 0 };
      assert((await http.retryDead(letter)).ok);
      assert((await agent.bus.reportStages([{ ...report("dead", work), at: 2, generation: 1 }])).ok);
      assert((await http.dropDead({ ...letter, generation: 1 })).ok);
      const command = await http.createCommand({ type: "agent.restart", target: "a" });
      assert(command.ok);
      assert((await agent.bus.updateCommand({ commandId: command.value.id, status: "succeeded" })).ok);
      await agent.bus.close();
      await relay.stop();
    });
    // The sweep and the retention are due after a second, when nothing of the above is.
    const swept = await statementsOf(async () => {
      const clock = new FakeClock(Date.now());
      const relay = await testRelay(dir, { clock });
      for (let i = 0; i < 3; i++) await clock.advance(1_000);
      await relay.stop();
    });
    const all = [...new Set([...statements, ...swept])];
    for (
      const part of ["DELETE FROM command", "m.expires_at >", "claim_expires_at IS NOT NULL", "closed = 2"]
    ) {
      assert(all.some((sql) => sql.includes(part)), `no statement with ${part}`);
    }
    assertEquals(slowPlans(join(dir, "relay.db"), all.filter((sql) => !SMALL.test(sql))), []);
  });
});
