import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { TestHome } from "../support/runner_process.ts";
import { obliging, refusing, ScriptedAgent } from "../support/scripted_agent.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("dead lists, shows, retries and drops; a wait for a dead message fails at once with the reason", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    assertEquals((await home.run(["dead"])).code, 75, "no relay");
    const relay = home.start(["relay", "--json"]);
    await until("the relay", () => relay.out.includes("\n"));
    const { url } = JSON.parse(relay.out) as { url: string };
    const token = Deno.readTextFileSync(join(home.home, "relay.token")).trim();
    const agentDir = join(dir, "agent");
    Deno.mkdirSync(agentDir);
    const agent = new ScriptedAgent(url, agentDir, { agentId: "worker", script: refusing, token }).start();
    try {
      await until("the agent", () => agent.runner.view().bus === "up");
      assertEquals((await home.run(["dead", "list"])).out, "no dead letters\n");
      const waited = performance.now();
      const sent = await home.run(["send", "worker", "far too much", "--until", "seen", "--timeout", "60s"]);
      assert(performance.now() - waited < 50_000, "it waited for its timeout");
      assertEquals([sent.code, sent.out], [1, ""]);
      assertStringIncludes(sent.err, "error[E_NOT_DELIVERED]: worker: dead: context window exceeded");
      assertStringIncludes(sent.err, 'runner dead retry 1"');
      const second = await home.run(["send", "worker", "more", "--until", "seen", "--json"]);
      assertEquals(JSON.parse(second.err).error.code, "E_NOT_DELIVERED");

      const listed = await home.run(["dead", "list", "--json"]);
      const { letters } = JSON.parse(listed.out) as { letters: { messageId: number; reason: string }[] };
      assertEquals(letters.map((letter) => letter.messageId), [1, 2]);
      assertStringIncludes((await home.run(["dead"])).out, "context window exceeded");
      assertStringIncludes((await home.run(["dead", "show", "1"])).out, "far too much");
      assertStringIncludes((await home.run(["receipt", "1"])).out, "dead letter");

      const cases: [string[], number, string][] = [
        [["dead", "retyr", "1"], 2, 'did you mean "runner dead retry"?'],
        [["dead", "retry"], 2, "needs the id"],
        [["dead", "retry", "x"], 2, "no message id"],
        [["dead", "retry", "12"], 1, "did you mean 1 or 2?"],
        [["dead", "retry", "777"], 1, "dead letters are 1, 2"],
        [["dead", "list", "workr"], 1, "did you mean worker?"],
        [["dead", "drop", "1", "--agent", "label:none"], 1, "nobody is there"],
      ];
      for (const [args, code, text] of cases) {
        const result = await home.run(args);
        assertEquals([result.code, result.out], [code, ""], args.join(" "));
        assertStringIncludes(result.err, text);
      }

      agent.script = obliging;
      const retried = await home.run(["dead", "retry", "1"]);
      assertEquals([retried.code, retried.out], [0, "message 1 is open again for worker\n"], retried.err);
      await until("its answer", async () => {
        const { out } = await home.run(["receipt", "1", "--json"]);
        return (JSON.parse(out) as { recipients: { read: boolean }[] }).recipients[0]!.read;
      });
      assertStringIncludes((await home.run(["receipt", "1"])).out, "reopened");
      assertEquals((await home.run(["dead", "drop", "--all", "--agent", "worker"])).code, 0);
      assertEquals((await home.run(["dead", "list", "worker"])).out, "no dead letters\n");
      assertEquals(agent.deliveries.length, 3);
    } finally {
      await agent.stop();
    }
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("dead says that there may be more when it got as many as the relay lists at a time", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const letter = {
      agentId: "worker",
      generation: 0,
      at: 1,
      reason: "r",
      from: "a",
      to: "worker",
      excerpt: "",
    };
    const letters = Array.from({ length: 1_000 }, (_, i) => ({ ...letter, messageId: i + 1 }));
    const relay = Deno.serve(
      { hostname: "127.0.0.1", port: home.port, onListen: () => {} },
      ({ method }) => Response.json(method === "GET" ? { storeId: "s", letters } : { ok: true }),
    );
    try {
      for (const args of [["dead", "list"], ["dead", "drop", "--all"]]) {
        const { code, out, err } = await home.run(args);
        assertEquals([code, err], [0, "these are the first 1000; there may be more\n"], args.join(" "));
        assert(out.split("\n").length > 1_000);
      }
    } finally {
      await relay.shutdown();
    }
  });
});
