import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { RunView } from "../../lib/cli/run/run_view.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const API = ["echo", "--headless", "--label", "api"];

interface Status {
  relay: { state: string; problem?: string };
  agents: { id: string; run: RunView | null; problem: string | null; card: { status: string } | null }[];
}

async function withHome(work: (home: TestHome) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    await work(home);
  });
}

async function statusOf(home: TestHome, ...args: string[]): Promise<Status> {
  const { code, out, err } = await home.run(["status", ...args, "--json"]);
  assertEquals(code, 0, err);
  return JSON.parse(out) as Status;
}

Deno.test("status says what an agent has in hand and what waits, while its agent does not answer", async () => {
  await withHome(async (home) => {
    const runner = home.start(API);
    const { id } = await home.untilReady("api") as { id: string };
    const { agents: [idle] } = await statusOf(home, "label:api");
    const { agentPid, pid } = idle!.run!;
    assertEquals([pid, idle!.run!.relay?.servedHere, idle!.run!.queued], [runner.pid, true, 0]);
    Deno.kill(agentPid!, "SIGSTOP");
    try {
      const sent = await home.run(["send", "label:api", "--from", "alice", "--subject", "urgent", "hello"]);
      assertEquals(sent.code, 0, sent.err);
      await until("the delivery", async () => (await statusOf(home)).agents[0]!.run!.inFlight === 1);
      const text = await home.run(["status", id]);
      assertMatch(text.out, /^\S+ {2}label:api {2}busy: provider-turn, message\n/);
      assertMatch(text.out, /\n {2}in hand +1 from alice "urgent": delivering for [\d.]+ m?s\n/);
      assertEquals(text.out.includes("\x1b"), false, "no colours in a pipe");
    } finally {
      Deno.kill(agentPid!, "SIGCONT");
    }
    await until("the end of it", async () => (await statusOf(home)).agents[0]!.run!.run.done === 1);
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0);
    const after = await statusOf(home);
    assertEquals(after.relay.state, "down");
    assertEquals(after.agents, [], "nobody is there to ask, and nothing is made up");
  });
});

Deno.test("status names a runner that does not answer, with its process, and knows nobody it was not told of", async () => {
  await withHome(async (home) => {
    const relay = home.start(["relay", "--port", String(home.port)]);
    const runner = home.start(API);
    const { id } = await home.untilReady("api") as { id: string };
    runner.kill("SIGSTOP");
    try {
      const { agents: [agent] } = await statusOf(home, id);
      assertEquals([agent!.run, agent!.problem], [null, "it does not answer"]);
      const { code, out } = await home.run(["status"]);
      assertEquals(code, 0);
      assertStringIncludes(out, "its runner does not answer");
      assertStringIncludes(out, `pid ${runner.pid}: it does not answer`);
      const watch = await home.run(["attach", id]);
      assertEquals(watch.code, 1);
      assertMatch(watch.err, /E_NOT_FOUND.*cannot be asked: it does not answer/);
    } finally {
      runner.kill("SIGCONT");
    }
    const nobody = await home.run(["status", "label:apj"]);
    assertEquals(nobody.code, 1);
    assertMatch(nobody.err, /E_NO_RECIPIENT.*did you mean label:api\?/);
    await runner.kill9();
    const { agents: [killed] } = await statusOf(home, id);
    assertEquals(killed!.problem, "nobody listens there any more");
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("two agents of one place have a log each, which logs shows and follows until nobody reads", async () => {
  await withHome(async (home) => {
    const runners = [home.start(API), home.start(API)];
    await until("both", async () => (await home.agents()).filter(({ ready }) => ready === true).length === 2);
    const ids = (await home.agents()).map(({ id }) => id as string).sort();
    assertEquals(ids[1], `${ids[0]}-2`);
    for (const id of ids) {
      const { code, out, err } = await home.run(["logs", id, "--json"]);
      assertEquals(code, 0, err);
      const started = out.trim().split("\n").map((line) => JSON.parse(line) as Record<string, string>)
        .filter(({ message }) => message === "agent is starting");
      assertEquals(started.map(({ agentId, log }) => [agentId, log]), [[id, `${home.home}/logs/${id}.log`]]);
    }
    const which = await home.run(["logs"]);
    assertEquals(which.code, 2);
    assertStringIncludes(which.err, ids.join(", "));
    const many = await home.run(["logs", "label:api"]);
    assertMatch(many.err, /E_TARGET.*means 2 agents/);
    const warnings = await home.run(["logs", ids[0]!, "--level", "error"]);
    assertEquals([warnings.code, warnings.out], [0, ""]);
    const shell = home.start(["logs", ids[0]!, "--follow", "--lines", "0"], {
      below: ["sh", "-c", '"$@" | head -n 1', "sh"],
    });
    for (let n = 0; !shell.over && n < 100; n++) await home.run(["restart", ids[0]!, "--timeout", "5s"]);
    assertEquals(await shell.ended(), 0);
    assertMatch(shell.out, /^\d{4}-\d\d-\d\dT[\d:]{8}Z \w+ +\S/);
    for (const runner of runners) runner.kill("SIGTERM");
    for (const runner of runners) assertEquals(await runner.ended(), 0);
    const later = await home.run(["logs", ids[0]!, "-n", "1"]);
    assertMatch(later.out, /run ended/, "a log outlives its agent");
  });
});

Deno.test("attach shows what came and what the agent says, from before as well, until the run is over", async () => {
  await withHome(async (home) => {
    const runner = home.start(API);
    const { id } = await home.untilReady("api") as { id: string };
    const say = async (text: string) => {
      const { code, err } = await home.run(["send", "label:api", "--from", "alice", text, "--until", "done"]);
      assertEquals(code, 0, err);
    };
    await say("before\x1b[2J");
    const watcher = home.start(["attach", "label:api"]);
    const json = home.start(["attach", id, "--json"]);
    await until("what was before", () => watcher.out.includes("echo: before") && json.out.includes("before"));
    await say("after");
    await until("what came after", () => watcher.out.includes("echo: after"));
    assertStringIncludes(watcher.out, ">> message 1 from alice: before\\x1b[2J\n");
    assertStringIncludes(watcher.out, "-- message 2 is done\n");
    runner.kill("SIGTERM");
    assertEquals([await watcher.ended(), await json.ended(), await runner.ended()], [0, 0, 0]);
    const events = json.out.trim().split("\n").map((line) => JSON.parse(line) as { type: string });
    assertEquals([events[0]!.type, events.at(-1)!.type], ["log", "end"]);
    assert(events.some(({ type }) => type === "turn"));
    const gone = await home.run(["attach", id]);
    assertEquals(gone.code, 1);
  });
});

Deno.test("attach says that the runner is gone when it was killed", async () => {
  await withHome(async (home) => {
    const runner = home.start(API);
    const { id } = await home.untilReady("api") as { id: string };
    const watcher = home.start(["attach", id]);
    await until("the watch", () => watcher.out.includes(id));
    await runner.kill9();
    assertEquals(await watcher.ended(), 1);
    assertMatch(watcher.err, /E_NOT_FOUND/);
  });
});

Deno.test("what a person may have meant is said, for words, options, texts, keys and letters", async () => {
  await withHome(async (home) => {
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    const agent = home.start([...API, "--agent-id", "one"]);
    await home.untilReady("api");
    const say = async (...args: string[]) => {
      const { code, err } = await home.run(args);
      return `${code} ${err.trim()}`;
    };
    assertMatch(await say("ls"), /^2 .*E_PROVIDER.*did you mean agents\?/);
    assertMatch(await say("kill", "one"), /^2 .*did you mean stop --hard\?/);
    assertMatch(await say("--json", "agents"), /^2 .*E_USAGE.*runner agents --json/);
    assertMatch(await say("send", "one", "hello", "world"), /^2 .*unexpected argument "world".*in quotes/);
    assertMatch(await say("send", "label:api", "hi", "--from", "one"), /^1 .*means the sender alone/);
    assertMatch(await say("relay"), /^75 .*E_RELAY_PORT.*a relay of this home serves on port \d+ already/);
    const key = ["--idempotency-key", "k"];
    assertEquals(await say("send", "one", "hello", ...key), "0 ");
    assertEquals(await say("send", "one", "hello", ...key), "0 ");
    assertMatch(
      await say("send", "one", "goodbye", ...key),
      /^1 .*E_CONFLICT.*message 1 has this .* another text/,
    );
    assertMatch(await say("dead", "list", "13"), /^2 .*E_USAGE.*use "runner dead show 13"/);
    assertMatch(await say("dead", "drop", "13", "--all"), /^2 .*E_USAGE.*or --all/);
    assertMatch(await say("dead", "retry", "13"), /^1 .*E_NOT_FOUND.*there are no dead letters/);
    assertMatch(await say("dead", "retry", "13", "--agent", "one"), /^1 .*one has none/);
    assertMatch((await home.run(["-v"])).out, /^runner \d/);
    const late = await home.run([
      "send",
      "label:none",
      "x",
      "--queue",
      "--until",
      "seen",
      "--timeout",
      "1s",
      "--json",
    ]);
    assertEquals((JSON.parse(late.err) as { error: { messageId: number } }).error.messageId, 2);
    assertStringIncludes(late.err, "runner receipt 2");
    for (const each of [agent, relay]) each.kill("SIGTERM");
    assertEquals([await agent.ended(), await relay.ended()], [0, 0]);
  });
});
