import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Receipt } from "../../lib/protocol/message.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** What a `send --until` that ends without evidence says. */
async function refused(home: TestHome, args: string[]): Promise<string> {
  const sent = await home.run(["send", ...args, "--json"]);
  assertEquals([sent.code, sent.out], [1, ""], sent.err);
  const { error } = JSON.parse(sent.err) as { error: { code: string; message: string } };
  assertEquals(error.code, "E_NOT_DELIVERED");
  return error.message;
}

Deno.test("send --until without evidence says who is missing, how far it got and what holds it up", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    const agents = {
      broken: home.start(["echo", "--headless", "--agent-id", "broken", "--", "--fail=provider"]),
      poison: home.start(["echo", "--headless", "--agent-id", "poison", "--", "--fail=message"]),
      shaky: home.start(["echo", "--headless", "--agent-id", "shaky", "--", "--fail=transient"]),
      slow: home.start(["echo", "--headless", "--agent-id", "slow", "--", "--slow=30s"]),
      late: home.start(["echo", "--headless", "--agent-id", "late", "--", "--slow=1s"]),
      torn: home.start(["echo", "--headless", "--agent-id", "torn", "--", "--slow=1s", "--fail=seen"]),
    };
    const ready = async (id: string) => (await home.agents()).some((card) => card.id === id && card.ready);
    for (const id of Object.keys(agents)) await until(id, () => ready(id));

    // The provider is at fault: the queue is held, nothing is burnt, and the status says so.
    const held = await refused(home, ["broken", "x", "--until", "seen", "--timeout", "2s"]);
    assertMatch(
      held,
      /^not seen in time; broken got as far as "placed", is in held: .*echo was told to fail/,
    );
    assertStringIncludes(held, "is not ready: ");
    const second = await refused(home, ["broken", "y", "--until", "placed", "--timeout", "1s"]);
    assertMatch(second, /^not placed in time; broken got as far as "received", is not ready: /);
    const card = (await home.agents()).find(({ id }) => id === "broken") as {
      status: string;
      ready: boolean;
      meta: { dead: number; reason: string };
    };
    assertEquals([card.status, card.ready, card.meta.dead], ["error", false, 0]);
    assertEquals((await home.run(["dead", "list", "broken"])).out, "no dead letters\n");

    // The message is at fault: it dies at once, with the reason.
    const dead = await refused(home, ["poison", "x", "--until", "done", "--timeout", "30s"]);
    assertMatch(dead, /^poison: dead: /);

    // The turn fails for now: tried again, and the wait says so.
    const retried = await refused(home, ["shaky", "x", "--until", "seen", "--timeout", "1s"]);
    assertMatch(retried, /^not seen in time; shaky got as far as "placed"/);

    // Seen, but its turn is not over; work that waits behind it has only been received.
    assertEquals((await home.run(["send", "slow", "x", "--until", "seen"])).code, 0);
    const busy = await refused(home, ["slow", "y", "--until", "done", "--timeout", "1s"]);
    assertMatch(busy, /^not done in time; slow got as far as "\w+"(, is busy with .*)?$/);

    // The model has it and it is acked; whether it gets done is told once its turn is over.
    const late = await home.run(["send", "late", "x", "--until", "done", "--json"]);
    assertEquals(late.code, 0, late.err);
    const { receipt } = JSON.parse(late.out) as { receipt: Receipt };
    const stages = receipt.recipients[0]!.reports.map(({ stage }) => stage);
    assert(stages.indexOf("acked") < stages.indexOf("done"), stages.join());
    assertMatch(await refused(home, ["torn", "x", "--until", "done", "--timeout", "30s"]), /^torn: failed: /);
    const unanswered = await home.run(["send", "torn", "x", "--wait-reply", "--timeout", "30s"]);
    assertEquals(unanswered.code, 1);
    assertMatch(unanswered.err, /E_NO_REPLY.*torn: failed: /);

    // Gone: the mail waits for it.
    agents.slow.kill("SIGKILL");
    await agents.slow.ended();
    await until("its socket to be missed", async () => !(await ready("slow")));
    const away = await refused(home, ["slow", "z", "--until", "received", "--timeout", "1s"]);
    assertMatch(away, /^not received in time; slow has not taken it, is (not ready|stale|offline)/);
    const nobody = await refused(home, [
      "label:later",
      "z",
      "--queue",
      "--until",
      "received",
      "--timeout",
      "1s",
    ]);
    assertEquals(nobody, "not received in time; nobody is there for it yet");

    const misspelt = await home.run(["send", "shakey", "x"]);
    assertEquals(misspelt.code, 1);
    assertStringIncludes(misspelt.err, "did you mean shaky?");
    assert((await home.run(["send", "slow", "kept", "--ttl", "1s"])).code === 0);
    const expired = await refused(home, [
      "slow",
      "late",
      "--ttl",
      "1s",
      "--until",
      "received",
      "--timeout",
      "30s",
    ]);
    assertMatch(expired, /^slow: expired/);
    for (const [name, agent] of Object.entries(agents)) {
      if (name !== "slow") agent.kill("SIGKILL");
    }
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("a wait for an answer prints it, and late joiners get no old broadcast", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const first = home.start(["echo", "--headless", "--agent-id", "first"]);
    await until("first", async () => (await home.agents()).some((card) => card.id === "first" && card.ready));
    assertEquals((await home.run(["send", "first", "hello", "--wait-reply"])).out, "echo: hello\n");
    assertEquals((await home.run(["send", "broadcast", "news", "--until", "done"])).code, 0);
    const late = home.start(["echo", "--headless", "--agent-id", "late"]);
    await until("late", async () => (await home.agents()).some((card) => card.id === "late" && card.ready));
    assertEquals((await home.run(["send", "broadcast", "more news", "--until", "done"])).code, 0);
    const { out } = await home.run(["receipt", "3", "--json"]);
    const receipt = JSON.parse(out) as { message: { body: string }; recipients: { agentId: string }[] };
    assertEquals([receipt.message.body, receipt.recipients.length], ["news", 1]);
    const unknown = await home.run(["receipt", "99"]);
    assertEquals(unknown.code, 1);
    assertStringIncludes(unknown.err, "message 99 is not here");
    assertEquals(late.out.includes("echo: news"), false);
    assertEquals(late.out.includes("echo: more news"), true);
    for (const agent of [late, first]) {
      agent.kill("SIGTERM");
      assertEquals(await agent.ended(), 0);
    }
  });
});
