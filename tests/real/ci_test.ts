import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { endOfJob, filesBelow, runJob, startJob } from "../support/job.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { receiptOf, stagesOf } from "../support/seat.ts";
import { processesWith } from "../support/runner_process.ts";
import { until } from "../support/temp.ts";

/** Text that has the mock model call a tool once. */
const CALL = {
  claude: '[[tool Bash {"command":"true","description":"mock"}]]',
  codex: '[[tool exec_command {"cmd":"true"}]]',
} as const;

for (const provider of ["claude", "codex"] as const) {
  const job = (agent: RealAgent, ...flags: string[]) => runJob(agent.home, [provider, "--once", ...flags]);

  Deno.test(`${provider}: a job without a terminal does its prompt, prints the answer and leaves nothing behind`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const { code, out, err, result } = await job(agent, "--prompt", "marker-one [[say the answer]]");
      assertEquals([code, out, err], [0, "the answer\n", ""]);
      assertEquals([result.outcome, result.text, result.turns], ["succeeded", "the answer", 1]);
      assertEquals(result.provider, { name: provider, exitCode: 0, signal: null });
      assertEquals(model.asked("marker-one"), 1);
      if (provider === "claude") assert(result.costUsd! > 0);
      else assertEquals(result.costUsd, null);
      const { agentId } = result;
      const own = [
        "config.json",
        `logs/${agentId}.log`,
        `providers/${provider}.json`,
        `state/${agentId}/conversations.json`,
        `state/${agentId}/journal.db`,
        `state/${agentId}/lock`,
      ];
      const left = filesBelow(home.home).filter((path) => !path.startsWith(`state/${agentId}/plugin`));
      assertEquals(left, own);
    });
  });

  Deno.test(`${provider}: the prompt comes from a file and from standard input, 200 KB of it whole`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { dir, home, model } = agent;
      const body = "lorem ipsum ".repeat(17_000);
      const text = (marker: string) => `begin-${marker} ${body} end-${marker} [[say got it]]`;
      assert(text("x").length > 200_000);
      const file = join(dir, "task.md");
      await Deno.writeTextFile(file, text("file"));
      const fromFile = await job(agent, "--prompt-file", file);
      assertEquals([fromFile.code, fromFile.out], [0, "got it\n"], fromFile.err);
      const fromStdin = await runJob(home, [provider, "--once", "--prompt", "-"], { stdin: text("stdin") });
      assertEquals([fromStdin.code, fromStdin.out], [0, "got it\n"], fromStdin.err);
      for (const marker of ["file", "stdin"]) {
        const asked = model.requests.find((request) => request.text.includes(`begin-${marker}`))!;
        assertStringIncludes(asked.text, text(marker));
      }
    });
  });

  Deno.test(`${provider}: a job begins a conversation of its own`, async () => {
    await withRealAgent(provider, async (agent) => {
      assertEquals((await job(agent, "--prompt", "remember zebra-77 [[say yes]]")).code, 0);
      assertEquals((await job(agent, "--prompt", "second-job [[say yes]]")).code, 0);
      const second = agent.model.requests.find((request) => request.text.includes("second-job"))!;
      assertEquals(second.history.includes("zebra-77"), false);
    });
  });

  Deno.test(`${provider}: a job whose agent does not begin ends soon, with what the agent said`, async () => {
    await withRealAgent(provider, async (agent) => {
      const [args, words] = provider === "claude"
        ? [["--no-such-option"], "error: unknown option '--no-such-option'"]
        : [
          ["-c", "model_providers=1"],
          "Error: invalid type: integer `1`, expected a map in `model_providers`",
        ];
      const { code, err, result } = await job(agent, "--prompt", "hello", "--", ...args);
      assertEquals([code, result.error?.code], [5, "E_PROVIDER_CMD"], err);
      assertStringIncludes(result.error!.message, `the provider cannot be started (exit code 1: ${words}`);
      assertEquals(err.match(/starting it again/g)?.length, 1, err);
    });
  });

  Deno.test(`${provider}: a turn that fails is a failed job, whatever code the agent itself ends with`, async () => {
    await withRealAgent(provider, async (agent) => {
      const bad = await job(agent, "--prompt", "[[error 400]]");
      assertEquals(
        [bad.code, bad.result.outcome, bad.result.error?.code],
        [1, "failed", "E_TURN_FAILED"],
        bad.err,
      );
      assertMatch(bad.err, /error\[E_TURN_FAILED\]: .*400/);
      assertEquals(bad.result.text, null);
    });
  });

  Deno.test(`${provider}: a login that is refused ends the job with the reason instead of a wait for a person`, async () => {
    await withRealAgent(provider, async (agent) => {
      const refused = await job(agent, "--prompt", "[[error 401]]");
      assertEquals([refused.code, refused.result.outcome], [1, "failed"], refused.err);
      assertMatch(refused.err, /error\[E_TURN_FAILED\]: .*401/);
      const { home } = agent;
      // The same over the bus: the message waits at the relay for somebody who can do it.
      const relay = home.start(["relay"]);
      await until("the relay", () => relay.out.includes("\n"));
      const sent = await home.run(["send", `tag:${provider}`, "[[error 401]]", "--claimable", "--queue"]);
      assertEquals(sent.code, 0, sent.err);
      const held = await runJob(home, [provider, "--once"]);
      assertEquals([held.code, held.result.outcome], [1, "failed"], held.err);
      assertEquals((await receiptOf(agent, 1)).recipients.some(({ read }) => read), false);
      relay.kill("SIGTERM");
      assertEquals(await relay.ended(), 0);
    });
  });

  Deno.test(`${provider}: a job without a prompt does one message of the bus and acks it before it ends`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home } = agent;
      const relay = home.start(["relay"]);
      await until("the relay", () => relay.out.includes("\n"));
      const send = home.run(["send", `tag:${provider}`, "[[say done]]", "--claimable", "--queue"]);
      assertEquals((await send).code, 0);
      const { code, out, err } = await runJob(home, [provider, "--once"]);
      assertEquals([code, out], [0, "done\n"], err);
      const receipt = await receiptOf(agent, 1);
      assertEquals(receipt.recipients.map(({ read }) => read), [true]);
      assert(stagesOf(receipt).includes("done"));
      relay.kill("SIGTERM");
      assertEquals(await relay.ended(), 0);
    });
  });

  Deno.test(`${provider}: limits of turns and time end a job with exit 8, and none of them ends one that keeps them`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { model } = agent;
      const kept = await job(
        agent,
        "--approval",
        "open",
        "--max-turns",
        "2",
        "--prompt",
        `kept ${CALL[provider]}`,
      );
      assertEquals([kept.code, kept.result.turns], [0, 2], kept.err);
      model.decide = (request) =>
        request.text.includes("over") && request.afterTool ? { kind: "hang" } : null;
      const over = await job(
        agent,
        "--approval",
        "open",
        "--max-turns",
        "1",
        "--prompt",
        `over ${CALL[provider]}`,
      );
      assertEquals(
        [over.code, over.result.outcome, over.result.error?.code],
        [8, "limit", "E_LIMIT"],
        over.err,
      );
      const late = await job(agent, "--max-time", "3s", "--prompt", "[[hang]]");
      assertEquals([late.code, late.result.outcome], [8, "limit"], late.err);
      assertEquals(late.result.error?.message, "the time limit of 3s is reached");
    });
  });

  Deno.test(`${provider}: cancelled in the middle of a turn as GitHub does it, the job ends in time and loses nothing`, async () => {
    // Half the budgets of GitHub (7.5 s after SIGINT, 2.5 s after SIGTERM), so that a slow machine still keeps them.
    const github = { GITHUB_ACTIONS: "true" };
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const relay = home.start(["relay"]);
      await until("the relay", () => relay.out.includes("\n"));
      model.decide = (request) => request.text.includes("cancel-me") ? { kind: "hang" } : null;
      const sent = await home.run(["send", `tag:${provider}`, "cancel-me", "--claimable", "--queue"]);
      assertEquals(sent.code, 0, sent.err);
      const start = async (asked: number, ...flags: string[]) => {
        const running = startJob(home, [provider, "--once", ...flags], { env: github });
        await model.untilAsked("cancel-me", asked);
        return running;
      };
      // One SIGINT: the drain of 6 s, then the interrupt, then an orderly end.
      const once = await start(1);
      once.kill("SIGINT");
      const drained = await endOfJob(home, once, 30_000);
      assertEquals([drained.code, drained.result.outcome, drained.result.signal], [
        130,
        "cancelled",
        "SIGINT",
      ]);
      assertStringIncludes(drained.out, "::error title=");
      const unread = async () => (await receiptOf(agent, 1)).recipients.every(({ read }) => !read);
      assert(await unread(), "a message that was cut off is nobody's");
      // SIGINT and, while it drains, SIGTERM: the end comes within 2 s.
      const twice = await start(2);
      twice.kill("SIGINT");
      await until("the drain", async () => (await home.agents())[0]?.ready === false);
      twice.kill("SIGTERM");
      const hard = await endOfJob(home, twice, 10_000);
      assertEquals([hard.code, hard.result.outcome], [143, "cancelled"], hard.err);
      assert(await unread(), "nor is one that was killed");
      model.decide = (request) =>
        request.text.includes("cancel-me") ? { kind: "say", text: "at last" } : null;
      const next = await runJob(home, [provider, "--once"], { timeoutMs: 120_000 });
      assertEquals([next.code, next.result.text], [0, "at last"], next.err);
      assertEquals(await unread(), false);
      relay.kill("SIGTERM");
      assertEquals(await relay.ended(), 0);
    });
  });

  Deno.test(`${provider}: an agent killed in the middle of its turn is started again, and never answers twice`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const running = startJob(home, [provider, "--once", "--prompt", "kill-me [[hang]]"]);
      await model.untilAsked("kill-me");
      model.decide = (request) =>
        request.text.includes("kill-me") ? { kind: "say", text: "second life" } : null;
      const agents = await processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`);
      assert(agents.length > 0);
      for (const pid of agents) {
        try {
          Deno.kill(pid, "SIGKILL");
        } catch { /* it went with another one */ }
      }
      const { code, result, err } = await endOfJob(home, running, 120_000);
      if (code === 0) {
        assertEquals([result.text, model.asked("kill-me")], ["second life", 2], err);
      } else {
        // The model had begun to answer: what it did by then must not be done again.
        assertEquals([code, result.outcome, model.asked("kill-me")], [1, "failed", 1], err);
      }
    });
  });

  Deno.test(`${provider}: an approval nobody can give is declined and the job goes on`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { dir } = agent;
      const call = provider === "claude"
        ? `[[tool Bash ${JSON.stringify({ command: `touch ${dir}/written`, description: "mock" })}]]`
        : `[[tool exec_command ${
          JSON.stringify({
            cmd: `touch ${dir}/written`,
            sandbox_permissions: "require_escalated",
            justification: "x",
          })
        }]]`;
      const { code, result, err } = await job(agent, "--prompt", `do it ${call}`);
      assertEquals([code, result.outcome], [0, "succeeded"], err);
      assertEquals(await Deno.stat(`${dir}/written`).then(() => true, () => false), false);
    });
  });
}

Deno.test("claude: a limit of cost ends a job with exit 8 in the middle of its turn", async () => {
  await withRealAgent("claude", async ({ home }) => {
    const prompt = `[[tokens 100000]] ${CALL.claude}`;
    const flags = ["claude", "--once", "--approval", "open", "--prompt", prompt, "--max-cost"];
    const over = await runJob(home, [...flags, "0.05"]);
    assertEquals([over.code, over.result.outcome], [8, "limit"], over.err);
    assert(over.result.costUsd! >= 0.05);
    const kept = await runJob(home, [...flags, "1000"]);
    assertEquals([kept.code, kept.result.outcome], [0, "succeeded"], kept.err);
  });
});
