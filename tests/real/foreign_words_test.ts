/** What a message or a prompt says that the agent would take for an order of its person's. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lines } from "../../lib/base/bytes.ts";
import { systemClock, TIMED_OUT, withDeadline } from "../../lib/base/clock.ts";
import { realClis } from "../support/real_clis.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { sessionOf } from "../support/claude_seat.ts";
import { receiptOf, send, stagesOf, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

/** A rule of the person's own that refuses prompts with a mark. */
const RULE = {
  hooks: {
    UserPromptSubmit: [{
      hooks: [{
        type: "command",
        command: "if grep -q marker-blocked; then echo 'not here' >&2; exit 2; fi",
      }],
    }],
  },
};

function rules({ dir }: RealAgent): void {
  Deno.writeTextFileSync(join(dir, "claude", "settings.json"), JSON.stringify(RULE));
}

Deno.test("claude: a message that names a file does not bring it to the model", async () => {
  await withRealAgent("claude", async (agent) => {
    const secret = join(agent.home.cwd, "secret.txt");
    Deno.writeTextFileSync(secret, "the-secret-of-the-place");
    const runner = agent.home.start(["claude", "--headless", "--label", "api"]);
    await agent.home.untilReady("api");
    for (const body of ["@secret.txt", `look at @${secret} please`, '(@"secret.txt")']) {
      await send(agent, `${body} [[say seen]]`, "--wait-reply");
    }
    const asked = agent.model.requests.filter(({ text }) => text.includes("[[say seen]]"));
    assert(asked.length >= 3);
    assertEquals(agent.model.requests.filter(({ text }) => text.includes("the-secret-of-the-place")), []);
    assertStringIncludes(asked.at(-1)!.text, "u{40}");
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  });
});

Deno.test("claude: a message that a rule of the person's refuses is a dead letter with the rule's words", async () => {
  await withRealAgent("claude", async (agent) => {
    rules(agent);
    const runner = agent.home.start(["claude", "--headless", "--label", "api"]);
    await agent.home.untilReady("api");
    const sent = await agent.home.run(["send", "label:api", "marker-blocked", "--wait-reply", "--json"]);
    assertEquals(sent.code, 1, sent.out + sent.err);
    const receipt = await receiptOf(agent, 1);
    assertEquals([stagesOf(receipt).at(-1), stagesOf(receipt).includes("seen")], ["dead", false]);
    assertStringIncludes(receipt.recipients[0]!.reports.at(-1)!.evidence ?? "", "not here");
    await send(agent, "harmless [[say fine]]", "--wait-reply");
    assertEquals(agent.model.asked("marker-blocked"), 0);
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  });
});

Deno.test("claude in a terminal: a message that a rule of the person's refuses is a dead letter, and the agent stays", async () => {
  await withSeat("claude", [], async (seat) => {
    await seat.home.untilReady("api");
    const { pid } = sessionOf(seat);
    const sent = await seat.home.run(["send", "label:api", "marker-blocked", "--wait-reply"]);
    assertEquals(sent.code, 1, sent.out + sent.err);
    const receipt = await receiptOf(seat, 1);
    assertEquals([stagesOf(receipt).at(-1), stagesOf(receipt).includes("seen")], ["dead", false]);
    assertStringIncludes(
      receipt.recipients[0]!.reports.at(-1)!.evidence ?? "",
      "a hook refused it: not here",
    );
    await send(seat, "harmless [[say fine]]", "--wait-reply");
    assertEquals(seat.model.asked("marker-blocked"), 0);
    assertEquals(sessionOf(seat).pid, pid);
  }, { prepare: rules });
});

Deno.test("claude: a job whose prompt is a command of Claude's own prints what that says and succeeds", async () => {
  await withRealAgent("claude", async (agent) => {
    const { code, out, err } = await agent.home.run(["claude", "--headless", "--once", "--prompt", "/cost"]);
    assertEquals(code, 0, err);
    assertStringIncludes(out, "Total duration");
    assertEquals(agent.model.requests.length, 0);
  });
});

/** Codex with the rule, which its person has trusted. */
async function trustedRules({ dir, home }: RealAgent): Promise<void> {
  const { codex } = await realClis();
  const config = join(dir, "codex", "config.toml");
  Deno.writeTextFileSync(join(dir, "codex", "hooks.json"), JSON.stringify(RULE));
  const server = new Deno.Command(codex, {
    args: ["app-server"],
    env: home.env,
    cwd: home.cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  try {
    const input = server.stdin.getWriter();
    const say = (frame: unknown) => input.write(new TextEncoder().encode(JSON.stringify(frame) + "\n"));
    const clientInfo = { name: "test", version: "1" };
    await say({
      id: 1,
      method: "initialize",
      params: { clientInfo, capabilities: { experimentalApi: true } },
    });
    await say({ method: "initialized" });
    await say({ id: 2, method: "hooks/list", params: { cwds: [home.cwd] } });
    const hook = await withDeadline(systemClock, 30_000, hookOf(server.stdout));
    assert(hook !== TIMED_OUT && hook !== null, "codex does not list the hook");
    const trust = `\n[hooks.state."${hook.key}"]\ntrusted_hash = "${hook.currentHash}"\n`;
    Deno.writeTextFileSync(config, trust, { append: true });
    await input.close();
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
}

/** The hook in the answer to `hooks/list`, null when the server ends before. */
async function hookOf(
  stdout: ReadableStream<Uint8Array>,
): Promise<{ key: string; currentHash: string } | null> {
  for await (const line of lines(stdout, { maxLineBytes: 1024 * 1024 })) {
    const { id, result } = JSON.parse(line.kind === "line" ? line.text : "{}");
    if (id === 2) return result.data[0].hooks[0];
  }
  return null;
}

Deno.test("codex: a message that a rule of the person's refuses is a dead letter with the rule's words", async () => {
  await withRealAgent("codex", async (agent) => {
    await trustedRules(agent);
    const runner = agent.home.start(["codex", "--headless", "--label", "api"]);
    await agent.home.untilReady("api");
    const sent = await agent.home.run(["send", "label:api", "marker-blocked", "--wait-reply"]);
    assertEquals(sent.code, 1, sent.out + sent.err);
    const receipt = await receiptOf(agent, 1);
    assertEquals([stagesOf(receipt).at(-1), stagesOf(receipt).includes("seen")], ["dead", false]);
    assertStringIncludes(
      receipt.recipients[0]!.reports.at(-1)!.evidence ?? "",
      "a hook refused it: not here",
    );
    await send(agent, "harmless [[say fine]]", "--wait-reply");
    assertEquals(agent.model.asked("marker-blocked"), 0);
    const { out } = await agent.home.run(["status", "label:api", "--json"]);
    assertStringIncludes(out, '"incarnation":1', "it is not started anew");
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  });
});

Deno.test("codex: a command that the person runs themselves is no answer to the message of that turn", async () => {
  await withSeat("codex", [], async (seat) => {
    await seat.home.untilReady("api");
    await seat.terminal.untilShows(/›/);
    const held = Promise.withResolvers<void>();
    seat.model.decide = async ({ text }) => {
      if (!text.includes("marker-held")) return null;
      await held.promise;
      return { kind: "error", status: 400 };
    };
    await send(seat, "marker-held");
    await seat.model.untilAsked("marker-held");
    await seat.terminal.type("!echo hello-$((40+2))");
    await seat.terminal.press("Enter");
    await seat.terminal.untilShows(/hello-42/);
    held.resolve();
    await until("the end", async () => stagesOf(await receiptOf(seat, 1)).includes("dead"));
    assertEquals(stagesOf(await receiptOf(seat, 1)).includes("seen"), false);
  });
});
