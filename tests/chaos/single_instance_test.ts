import { assertEquals, assertMatch } from "@std/assert";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const STARTS = 50;

Deno.test("of fifty runners started at once with one agent id exactly one runs, and the others name it", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay", "--json"]);
    await until("the relay", () => relay.out.includes("\n"));
    const runners = Array.from(
      { length: STARTS },
      () =>
        home.start([
          "echo",
          "--headless",
          "--agent-id",
          "only-one",
          "--relay-url",
          `http://127.0.0.1:${home.port}`,
        ]),
    );
    let alive = runners;
    await until(
      "all but one to end",
      () => (alive = runners.filter((each) => !each.over)).length <= 1,
      120_000,
    );
    const [winner] = alive;
    for (const runner of runners) {
      if (runner === winner) continue;
      assertEquals(await runner.ended(), 6, runner.err);
      assertMatch(
        runner.err,
        new RegExp(`error\\[E_LOCKED\\]: agent only-one is run by pid ${winner?.pid}\\b`),
      );
    }
    await until(
      "the agent to be ready",
      async () => (await home.agents()).some((card) => card.ready === true),
    );
    assertEquals((await home.agents()).map((card) => card.id), ["only-one"]);
    for (const each of [winner!, relay]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0);
    }
  });
});
