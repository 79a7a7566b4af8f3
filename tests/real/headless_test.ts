import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { describeProcesses, processesWith, type RunningCommand } from "../support/runner_process.ts";
import { receiptOf, stagesOf } from "../support/seat.ts";
import { until } from "../support/temp.ts";

/** Stops over the bus; a second lifecycle command within 5 s is refused, so after a restart a signal does it. */
async function stop(
  agent: RealAgent,
  runner: RunningCommand,
  how: "command" | "signal" = "command",
): Promise<void> {
  if (how === "signal") runner.kill("SIGTERM");
  else {
    const stopped = await agent.home.run(["stop", "label:api"]);
    assertEquals(stopped.code, 0, stopped.err + runner.err);
  }
  assertEquals(await runner.ended(), 0, runner.err);
  assertEquals(await processesWith(`AGENT_RELAY_HOME=${agent.home.home}`), []);
  const left = await processesWith(`AGENT_RELAY_CONTROL_FILE=${agent.home.home}`);
  assertEquals(await describeProcesses(left), [], "a process of the agent is left");
}

for (const provider of ["claude", "codex"] as const) {
  const start = (agent: RealAgent, ...flags: string[]) =>
    agent.home.start([provider, "--headless", "--label", "api", ...flags]);

  Deno.test(`${provider}: a message is seen once by the model, acked only after it answered, and answered`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runner = start(agent);
      await home.untilReady("api");
      let readWhenAsked: boolean | null = null;
      model.decide = async (request) => {
        if (!request.text.includes("marker-one")) return null;
        // The model has the text and has not said a word yet.
        readWhenAsked = (await receiptOf(agent, 1)).recipients[0]!.read;
        return { kind: "say", text: "the answer" };
      };
      const sent = await home.run([
        "send",
        "label:api",
        "please marker-one",
        "--wait-reply",
        "--timeout",
        "30s",
      ]);
      assertEquals([sent.code, sent.out], [0, "the answer\n"], sent.err + runner.err);
      assertEquals(readWhenAsked, false, "the relay had it as read before the model answered");
      assertEquals(model.asked("marker-one"), 1);
      const receipt = await receiptOf(agent, 1);
      assertEquals(receipt.recipients[0]!.read, true);
      const stages = stagesOf(receipt);
      assertEquals(stages.slice(0, 4), ["received", "handed", "placed", "seen"]);
      assert(stages.indexOf("seen") < stages.indexOf("acked"));
      await stop(agent, runner);
    });
  });

  Deno.test(`${provider}: a message sent during a running turn arrives too, and the status goes idle, busy, idle`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runner = start(agent);
      const statuses = [String((await home.untilReady("api")).status)];
      assertEquals((await home.run(["send", "label:api", "first-long [[slow 2500]]"])).code, 0);
      await model.untilAsked("first-long");
      const second = home.run([
        "send",
        "label:api",
        "second-short [[say two]]",
        "--wait-reply",
        "--timeout",
        "30s",
      ]);
      await until("a busy agent", async () => {
        statuses.push(String((await home.agents())[0]!.status));
        return statuses.at(-1) === "busy";
      });
      assertEquals((await second).out, "two\n", (await second).err);
      await until("an idle agent", async () => {
        statuses.push(String((await home.agents())[0]!.status));
        return statuses.at(-1) === "idle";
      });
      assertEquals(statuses.filter((status, i) => status !== statuses[i - 1]), ["idle", "busy", "idle"]);
      assertEquals([model.asked("first-long"), model.asked("second-short")], [1, 1]);
      await stop(agent, runner);
    });
  });

  Deno.test(`${provider}: a turn that ends in 401 is not acked, is not lost, and is delivered once it can be`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runner = start(agent);
      await home.untilReady("api");
      model.decide = () => ({ kind: "error", status: 401 });
      assertEquals((await home.run(["send", "label:api", "marker-401"])).code, 0);
      await until("the hold", async () => stagesOf(await receiptOf(agent, 1)).includes("held"));
      const held = await receiptOf(agent, 1);
      assertEquals(held.recipients[0]!.read, false);
      assertEquals(stagesOf(held).includes("acked"), false);
      const [card] = await home.agents();
      assertEquals([card!.status, card!.ready], ["error", false]);
      assertStringIncludes(String((card!.meta as { reason: string }).reason), "401");
      // The person mends it; a restart tries again at once, in the same conversation.
      model.decide = (request) =>
        request.text.includes("marker-401") ? { kind: "say", text: "mended" } : null;
      assertEquals((await home.run(["restart", "label:api"])).code, 0);
      await until("the delivery", async () => (await receiptOf(agent, 1)).recipients[0]!.read);
      const attempts = new Set(
        (await receiptOf(agent, 1)).recipients[0]!.reports.flatMap((report) => report.deliveryId ?? []),
      );
      assertEquals(attempts.size, 2, "a retry after a failed turn is a new attempt");
      await stop(agent, runner, "signal");
    });
  });

  Deno.test(`${provider}: agent.restart keeps the conversation`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runner = start(agent);
      await home.untilReady("api");
      await home.run(["send", "label:api", "remember zebra-77", "--wait-reply"]);
      const restarted = await home.run(["restart", "label:api"]);
      assertEquals(restarted.code, 0, restarted.err + runner.err);
      const after = await home.run([
        "send",
        "label:api",
        "what did I say",
        "--wait-reply",
        "--timeout",
        "30s",
      ]);
      assertEquals(after.code, 0, after.err + runner.err);
      const request = model.requests.findLast((each) => each.text.includes("what did I say"))!;
      assertStringIncludes(request.history, "zebra-77");
      assertEquals(model.asked("zebra-77"), 1);
      await stop(agent, runner, "signal");
    });
  });

  Deno.test(`${provider}: a claimable message offered to two runners is done by exactly one`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runners = [start(agent), home.start([provider, "--headless", "--label", "two"])];
      await home.untilReady("api");
      await home.untilReady("two");
      for (const marker of ["claim-a", "claim-b", "claim-c"]) {
        const sent = await home.run(["send", `tag:${provider}`, marker, "--claimable", "--until", "done"]);
        assertEquals(sent.code, 0, sent.err);
        assertEquals(model.asked(marker), 1, `${marker} was done by more than one`);
      }
      for (const runner of runners) {
        runner.kill("SIGTERM");
        assertEquals(await runner.ended(), 0, runner.err);
      }
      assertEquals(await processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`), []);
    });
  });

  Deno.test(`${provider}: SIGKILL of the runner during a turn loses nothing and leaves no process`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const relay = home.start(["relay"]);
      await until("the relay", () => relay.out.includes("\n"));
      const first = start(agent);
      await home.untilReady("api");
      model.decide = (request) => request.text.includes("kill-marker") ? { kind: "hang" } : null;
      await home.run(["send", "label:api", "kill-marker"]);
      await model.untilAsked("kill-marker");
      const left = () => processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`);
      assertNotEquals(await left(), []);
      first.kill("SIGKILL");
      await first.ended();
      await until("no process", async () => (await left()).length === 0);
      model.decide = null;
      const next = start(agent);
      const { out, err } = await home.run(["send", "label:api", "x", "--until", "received", "--queue"]);
      assertEquals(out === "" && err !== "", false);
      await until(
        "the message to be acked",
        async () => (await receiptOf(agent, 1)).recipients[0]!.read,
        60_000,
      );
      assert(stagesOf(await receiptOf(agent, 1)).includes("seen"));
      for (const each of [next, relay]) {
        each.kill("SIGTERM");
        assertEquals(await each.ended(), 0, each.err);
      }
    });
  });
}

/** What is given, what the bus is told, and whether the agent may write unasked. */
const CLAUDE_MODES: readonly [flags: string[], told: string, writes: boolean][] = [
  [["--approval", "read-only"], "read-only", false],
  [["--approval", "guarded"], "guarded", false],
  [["--approval", "open"], "open", true],
  [["--", "--permission-mode", "bypassPermissions"], "bypassPermissions", true],
];

for (const [flags, told, writes] of CLAUDE_MODES) {
  Deno.test(`claude: ${flags.join(" ")} sets what it may do, and the bus is told so`, async () => {
    await withRealAgent("claude", async (agent) => {
      const { home, model, dir } = agent;
      const runner = home.start(["claude", "--headless", "--label", "api", ...flags]);
      const { meta } = await home.untilReady("api");
      assertEquals((meta as { approvalMode?: string }).approvalMode, told);
      const write = { command: `touch ${dir}/written`, description: "mock" };
      const turn = `do it [[tool Bash ${JSON.stringify(write)}]]`;
      const sent = await home.run(["send", "label:api", turn, "--wait-reply", "--timeout", "30s"]);
      assertEquals(sent.code, 0, sent.err + runner.err);
      assertEquals(await Deno.stat(`${dir}/written`).then(() => true, () => false), writes);
      if (!writes) assertMatch(model.requests.at(-1)!.text, /approval|permission|denied|not allowed/i);
      await stop(agent, runner);
    });
  });
}

for (const mode of ["read-only", "guarded", "open"] as const) {
  Deno.test(`codex: --approval ${mode} sets Codex's own policy and sandbox`, async () => {
    await withRealAgent("codex", async (agent) => {
      const { home, dir } = agent;
      const runner = home.start(["codex", "--headless", "--label", "api", "--approval", mode]);
      await home.untilReady("api");
      const inside = { cmd: `touch ${home.cwd}/inside` };
      const outside = {
        cmd: `touch ${dir}/outside`,
        sandbox_permissions: "require_escalated",
        justification: "x",
      };
      for (const call of [inside, outside]) {
        const turn = `do it [[tool exec_command ${JSON.stringify(call)}]]`;
        const sent = await home.run(["send", "label:api", turn, "--wait-reply", "--timeout", "30s"]);
        assertEquals(sent.code, 0, sent.err + runner.err);
      }
      const exists = (path: string) => Deno.stat(path).then(() => true, () => false);
      const found = [await exists(`${home.cwd}/inside`), await exists(`${dir}/outside`)];
      const expected = { "read-only": [false, false], guarded: [true, false], open: [true, false] }[mode];
      // In mode "never" an escalation is refused to the model without a question; without it the whole disk is open.
      assertEquals(found, expected);
      if (mode === "open") {
        const plain = `do it [[tool exec_command ${JSON.stringify({ cmd: `touch ${dir}/plain` })}]]`;
        await home.run(["send", "label:api", plain, "--wait-reply", "--timeout", "30s"]);
        assertEquals(await exists(`${dir}/plain`), true);
      }
      await stop(agent, runner);
    });
  });
}
