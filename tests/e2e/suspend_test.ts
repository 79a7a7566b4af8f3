import { assertEquals, assertStringIncludes } from "@std/assert";
import { describeProcesses, processesWith, TestHome } from "../support/runner_process.ts";
import { pidOfRunner } from "../support/seat.ts";
import { until, withTempDir } from "../support/temp.ts";

const API = ["echo", "--headless", "--label", "api"];

/** A home below which nothing is left, also when a test fails. */
async function withHome(work: (home: TestHome) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    try {
      await work(home);
    } finally {
      for (const pid of await processesWith(all(home))) {
        try {
          Deno.kill(pid, "SIGKILL");
        } catch { /* it ended */ }
      }
    }
  });
}

/** Letters of the states of the processes whose environment carries the text. */
async function states(marker: string): Promise<string[]> {
  const lines = await describeProcesses(await processesWith(marker));
  return lines.map((line) => line.trim().split(/\s+/)[2]![0]!);
}

/** Everything of this home, and the agents alone. */
const all = (home: TestHome) => `AGENT_RELAY_HOME=${home.home}`;
const agents = (home: TestHome) => `AGENT_RELAY_CONTROL_FILE=${home.home}`;

async function answers(home: TestHome, label: string): Promise<void> {
  const sent = await home.run(["send", `label:${label}`, "hello", "--wait-reply", "--timeout", "30s"]);
  assertEquals([sent.code, sent.out], [0, "echo: hello\n"], sent.err);
}

Deno.test("a runner that is suspended by its shell leaves the relay to others, with its agent stopped, and goes on after", async () => {
  await withHome(async (home) => {
    // A shell with job control: a group of its own for the runner, which is not orphaned.
    const shell = home.start(API, { below: ["bash", "-c", 'set -m; "$@" & wait -f $!', "bash"] });
    await home.untilReady("api");
    const runner = pidOfRunner({ home });
    const other = home.start(["echo", "--headless", "--label", "other"]);
    await home.untilReady("other");
    Deno.kill(runner, "SIGTSTP");
    await until(
      "the stop",
      async () => (await states(all(home))).includes("T"),
    );
    await until("the relay at the other one", async () => (await home.agents()).length === 2);
    const [api] = (await home.agents()).filter(({ label }) => label === "api") as {
      status: string;
      meta: unknown;
    }[];
    assertEquals([api?.status, (api?.meta as { reason?: string }).reason], ["stale", "suspended"]);
    const which = (await states(agents(home))).toSorted();
    assertEquals(which, ["S", "T"], "of the two agents the one without its runner is stopped");
    await answers(home, "other");
    const restart = await home.run(["restart", "label:api", "--timeout", "1s"]);
    assertEquals(restart.code, 8);
    assertStringIncludes(restart.err, "did not say that it is restarted; it is stale: suspended");
    assertEquals((await home.run(["send", "label:api", "later"])).code, 0);
    Deno.kill(runner, "SIGCONT");
    await answers(home, "api");
    Deno.kill(runner, "SIGTERM");
    assertEquals(await shell.ended(), 0, shell.err);
    assertEquals(shell.out.match(/echo: later/g)?.length, 1);
    other.kill("SIGTERM");
    assertEquals(await other.ended(), 0, other.err);
    assertEquals([await states(all(home)), await states(agents(home))], [[], []]);
  });
});

Deno.test("a runner that no shell could continue is not stopped by SIGTSTP, and is on the bus again", async () => {
  await withHome(async (home) => {
    const runner = home.start(API, { below: ["setsid"] });
    await home.untilReady("api");
    Deno.kill(runner.pid, "SIGTSTP");
    await until("the return", () => /resumed/.test(runner.err) || /resumed/.test(home.log()));
    await home.untilReady("api");
    await answers(home, "api");
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
    assertEquals([await states(all(home)), await states(agents(home))], [[], []]);
  });
});
