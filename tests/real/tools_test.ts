import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseFrame } from "../../lib/inbox/framing.ts";
import { PLUGIN_TOOLS } from "../../lib/providers/claude/plugin.ts";
import { TOOLS } from "../../lib/protocol/tools.ts";
import type { MockModel } from "../support/mock_model.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { processesWith, type RunningCommand } from "../support/runner_process.ts";
import { receiptOf, send, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

/** Names of the tools in the requests of each agent. */
const NAMES = { claude: PLUGIN_TOOLS, codex: TOOLS.map(({ name }) => name) };
const toolOf = (provider: "claude" | "codex", name: string) =>
  NAMES[provider].find((each) => each.endsWith(name))!;
const call = (provider: "claude" | "codex", name: string, args: Record<string, unknown>) =>
  `[[tool ${toolOf(provider, name)} ${JSON.stringify(args)}]]`;

/** Everything that a request carried, results of tools included. */
function lastResult(model: MockModel): string {
  const request = model.requests.findLast(({ afterTool }) => afterTool);
  assert(request !== undefined, "no tool was called");
  const { input, messages } = request.body as { input?: unknown[]; messages?: unknown[] };
  return JSON.stringify((input ?? messages)!.slice(-3));
}

async function end(agent: RealAgent, ...runners: RunningCommand[]): Promise<void> {
  for (const runner of runners) {
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  }
  assertEquals(await processesWith(`AGENT_RELAY_CONTROL_FILE=${agent.home.home}`), []);
}

for (const provider of ["claude", "codex"] as const) {
  for (const mode of ["read-only", "guarded", "open"] as const) {
    Deno.test(`${provider}: with --approval ${mode} the model has the relay's tools and writes to another agent unasked`, async () => {
      await withRealAgent(provider, async (agent) => {
        const { home, model } = agent;
        const runners = [
          home.start([provider, "--headless", "--label", "api", "--approval", mode]),
          home.start(["echo", "--label", "other"]),
        ];
        const me = String((await home.untilReady("api")).id);
        const other = String((await home.untilReady("other")).id);
        await send(
          agent,
          `go ${call(provider, "relay_send", { to: "label:other", text: "from the model" })}`,
          "--wait-reply",
        );
        assertEquals(NAMES[provider].filter((name) => !model.requests[0]!.tools.includes(name)), []);
        assertStringIncludes(lastResult(model), `message 2 was sent to ${other}`);
        await until("the message to be read", async () => (await receiptOf(agent, 2)).recipients[0]!.read);
        const { message } = await receiptOf(agent, 2);
        assertEquals([message.from, message.to, message.body], [me, "label:other", "from the model"]);
        await end(agent, ...runners);
      });
    });
  }

  Deno.test(`${provider}: the answer that a call waits for comes as framed data, once`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      const runners = [
        home.start([provider, "--headless", "--label", "api"]),
        home.start(["echo", "--label", "other"]),
      ];
      await home.untilReady("api");
      const other = String((await home.untilReady("other")).id);
      const args = { to: "label:other", text: "what-now", wait_reply_seconds: 30 };
      await send(agent, `go ${call(provider, "relay_send", args)}`, "--wait-reply");
      const result = JSON.parse(
        `"${
          /the answer to message 2:\\n(<relay-message.*?<\/relay-message nonce=\w+>)/.exec(
            lastResult(model),
          )![1]
        }"`,
      ) as string;
      const frame = parseFrame(result);
      assertEquals([frame?.from, frame?.body], [other, "echo: what-now"]);
      const asked = model.requests.length;
      await send(agent, "next", "--wait-reply");
      assertEquals(model.requests.length, asked + 1, "the answer was not delivered once more");
      // What the model is told when something is wrong.
      await send(
        agent,
        `go ${call(provider, "relay_send", { to: "label:othr", text: "x" })}`,
        "--wait-reply",
      );
      assertMatch(lastResult(model), /did you mean label:other/);
      await end(agent, ...runners);
    });
  });

  Deno.test(`${provider}: in a terminal the model has the relay's tools and is not asked about them`, async () => {
    await withSeat(provider, [], async (seat) => {
      const { home, model } = seat;
      // Slow enough that somebody else who answered the call would be the first.
      const echo = home.start(["echo", "--label", "other", "--", "--slow", "1500ms"]);
      await home.untilReady("api");
      await home.untilReady("other");
      const args = { to: "label:other", text: "seated", wait_reply_seconds: 30 };
      await send(seat, `go ${call(provider, "relay_send", args)}`, "--wait-reply");
      // Claude Code connects its MCP servers beside the first turn of a terminal.
      assertEquals(NAMES[provider].filter((name) => !model.requests.at(-1)!.tools.includes(name)), []);
      assertMatch(lastResult(model), /the answer to message 2:.*echo: seated/);
      assertEquals((await receiptOf(seat, 2)).message.body, "seated");
      echo.kill("SIGTERM");
      assertEquals(await echo.ended(), 0, echo.err);
    });
  });

  Deno.test(`${provider}: a run without a relay has no tools`, async () => {
    await withRealAgent(provider, async ({ home, model }) => {
      const { code, err } = await home.run([provider, "--no-relay", "--once", "--prompt", "hello"]);
      assertEquals(code, 0, err);
      assertEquals(model.requests[0]!.tools.filter((name) => name.includes("relay")), []);
    });
  });
}

Deno.test("claude: a person's own servers, rules and settings work beside the tools, and strict leaves these out", async () => {
  const none = '{"mcpServers":{}}';
  const cases: [own: string[], tools: boolean, touches: boolean][] = [
    [["--mcp-config", none, "--allowedTools", "Bash(touch:*)"], true, true],
    [["--settings", '{"permissions":{"allow":["Bash(touch:*)"]}}'], true, true],
    [["--strict-mcp-config", "--mcp-config", none], false, false],
  ];
  for (const [own, tools, touches] of cases) {
    await withRealAgent("claude", async (agent) => {
      const { home, model } = agent;
      const runner = home.start(["claude", "--headless", "--label", "api", "--", ...own]);
      await home.untilReady("api");
      const touch = { command: "touch written", description: "mock" };
      await send(agent, `do it [[tool Bash ${JSON.stringify(touch)}]]`, "--wait-reply");
      const offered = model.requests[0]!.tools.filter((name) => PLUGIN_TOOLS.includes(name));
      assertEquals(offered.length, tools ? PLUGIN_TOOLS.length : 0, own.join(" "));
      const written = await Deno.stat(`${home.cwd}/written`).then(() => true, () => false);
      assertEquals(written, touches, own.join(" "));
      await end(agent, runner);
    });
  }
});
