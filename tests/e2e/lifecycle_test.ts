import { assertEquals, assertMatch } from "@std/assert";
import { TestAgent } from "../support/relay_world.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const API = ["echo", "--headless", "--label", "api"];

/** A home with a relay of its own, which outlives its agents. */
async function withHome(work: (home: TestHome) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    await work(home);
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
}

Deno.test("an agent that is started right after its stop is the same one, with its id fixed or not", async () => {
  await withHome(async (home) => {
    for (const args of [API, [...API, "--agent-id", "fixed"]]) {
      let id: unknown = null;
      for (let round = 0; round < 4; round++) {
        const runner = home.start(args);
        const card = await home.untilReady("api");
        id ??= card.id;
        assertEquals(card.id, id, `round ${round}`);
        const stopped = await home.run(["stop", String(id)]);
        assertEquals([stopped.code, stopped.out], [0, `${id} is stopped\n`], stopped.err);
        // No wait for its process: who starts again does not know it.
        void runner.ended();
      }
    }
  });
});

Deno.test("a namesake that has ended does not stand in the way, and an agent that is not there is stopped", async () => {
  await withHome(async (home) => {
    const gone = home.start([...API, "--agent-id", "gone"]);
    await home.untilReady("api");
    gone.kill("SIGTERM");
    assertEquals(await gone.ended(), 0);
    const here = home.start([...API, "--agent-id", "here"]);
    await until(
      "it",
      async () => (await home.agents()).some(({ id, ready }) => id === "here" && ready === true),
    );
    const restarted = await home.run(["restart", "label:api"]);
    assertEquals([restarted.code, restarted.out], [0, "here is restarted\n"], restarted.err);
    const stopped = await home.run(["stop", "gone"]);
    assertEquals([stopped.code, stopped.out], [0, "gone is not running\n"], stopped.err);
    const restart = await home.run(["restart", "gone"]);
    assertEquals(restart.code, 1);
    assertMatch(restart.err, /E_CONFLICT.*gone is not running.*runner status gone/);
    const many = await home.run(["stop", "tag:echo"]);
    assertEquals(many.code, 2);
    assertMatch(many.err, /E_TARGET.*"tag:echo" may mean several agents.*label:X/);
    const bare = await home.run(["stop", "api"]);
    assertMatch(bare.err, /E_NO_RECIPIENT.*did you mean label:api\?/);
    here.kill("SIGTERM");
    assertEquals(await here.ended(), 0);
  });
});

Deno.test("a stop that its agent does not answer ends with 8 in its time, and says where to look", async () => {
  await withHome(async (home) => {
    const token = Deno.readTextFileSync(`${home.home}/relay.token`).trim();
    const mute = await new TestAgent(`http://127.0.0.1:${home.port}`, "mute", { token }).join();
    const stopped = await home.run(["stop", "mute", "--timeout", "1s"]);
    assertEquals([stopped.code, stopped.out], [8, ""]);
    assertMatch(stopped.err, /E_TIMEOUT.*mute did not say that it is stopped.*runner status mute/);
    assertEquals(mute.commands, ["agent.shutdown"]);
    await mute.bus.close();
  });
});

Deno.test("a second stop goes along with the first, and a hard one ends the wait of a soft one", async () => {
  await withHome(async (home) => {
    const slow = home.start([...API, "--agent-id", "slow", "--", "--slow=2s"]);
    await home.untilReady("api");
    assertEquals((await home.run(["send", "slow", "x", "--until", "seen"])).code, 0);
    const stops = await Promise.all([home.run(["stop", "slow"]), home.run(["stop", "slow"])]);
    assertEquals(stops.map(({ code }) => code), [0, 0], stops.map(({ err }) => err).join());
    assertEquals(await slow.ended(), 0);
    const stuck = home.start([...API, "--agent-id", "stuck", "--drain-timeout", "60s", "--", "--slow=60s"]);
    await until(
      "it",
      async () => (await home.agents()).some(({ id, ready }) => id === "stuck" && ready === true),
    );
    assertEquals((await home.run(["send", "stuck", "x", "--until", "seen"])).code, 0);
    const soft = home.start(["stop", "stuck"]);
    await until(
      "the drain",
      async () =>
        (await home.agents()).some(({ meta }) => (meta as { reason?: string }).reason === "draining"),
    );
    const hard = await home.run(["stop", "stuck", "--hard"]);
    assertEquals([hard.code, hard.out], [0, "stuck is stopped\n"], hard.err);
    assertEquals(await soft.ended(20_000), 0, soft.err);
    await stuck.ended();
  });
});
