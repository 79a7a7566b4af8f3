import { assertEquals } from "@std/assert";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("an agent and a relay under nohup outlive the hang-up of their terminal", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"], { below: ["nohup"] });
    await until("the relay", () => relay.out.includes("\n"));
    const agent = home.start(["echo", "--headless", "--label", "api"], { below: ["nohup"] });
    await home.untilReady("api");
    for (const each of [relay, agent]) each.kill("SIGHUP");
    const sent = await home.run(["send", "label:api", "hello", "--wait-reply"]);
    assertEquals([sent.code, sent.out], [0, "echo: hello\n"], sent.err + agent.err + relay.err);
    // Neither is on its way to an end: that is asked for by what is not ignored.
    for (const each of [agent, relay]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0, each.err);
    }
    const drains = home.log().split("\n").filter((line) => line.includes("the run drains"));
    assertEquals(drains.map((line) => /SIG\w+/.exec(line)![0]), ["SIGTERM"]);
  });
});

Deno.test("an agent without nohup drains when its terminal hangs up", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    agent.kill("SIGHUP");
    assertEquals(await agent.ended(), 0, agent.err);
  });
});
