import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { basename, dirname, join } from "@std/path";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { processesWith, type TestHome } from "../support/runner_process.ts";
import { send } from "../support/seat.ts";
import { until } from "../support/temp.ts";
import { TmuxTerminal } from "../support/tmux.ts";

interface Detached extends RealAgent {
  tmux(...args: string[]): Promise<Deno.CommandOutput>;
}

/** Runs `work` with Claude Code and a tmux server of its own; `detach` is given as typed above the agent's directory. */
function detached(
  name: string,
  work: (agent: Detached, detach: (...args: string[]) => ReturnType<TestHome["run"]>) => Promise<void>,
): void {
  Deno.test(`--detach: ${name}`, () =>
    withRealAgent("claude", async (agent) => {
      const env = { TMUX_TMPDIR: agent.dir };
      const tmux = (...args: string[]) => new Deno.Command("tmux", { args, env }).output();
      try {
        const flags = ["--label", "api", "--detach", "--cwd", basename(agent.home.cwd)];
        const options = { env, cwd: dirname(agent.home.cwd) };
        await work({ ...agent, tmux }, (...args) => agent.home.run(["claude", ...flags, ...args], options));
        await until(
          "no process",
          async () => (await processesWith(`AGENT_RELAY_CONTROL_FILE=${agent.home.home}`)).length === 0,
        );
      } finally {
        await tmux("kill-server");
      }
    }));
}

detached("the agent runs in a tmux session of its own, reachable over the bus", async (agent, detach) => {
  const started = await detach();
  assertEquals([started.code, started.err], [0, ""]);
  assertStringIncludes(started.out, "tmux attach -t claude-relay-api");
  await agent.home.untilReady("api");
  await send(agent, "marker-detached [[say from tmux]]", "--wait-reply");
  const again = await detach();
  assertEquals(again.code, 1);
  assertStringIncludes(again.err, "E_CONFLICT");
  const stopped = await agent.home.run(["stop", "label:api"]);
  assertEquals(stopped.code, 0, stopped.err);
});

detached(
  "attach brings a person to the agent's terminal, and leaving it changes nothing",
  async (agent, detach) => {
    assertEquals((await detach()).code, 0);
    await agent.home.untilReady("api");
    const { command, args } = agent.home.program;
    await using terminal = new TmuxTerminal();
    await terminal.start([command, ...args, "attach", "label:api"], {
      cwd: agent.home.cwd,
      env: { ...agent.home.env, LANG: "C.UTF-8" },
    });
    // The person types at the agent itself.
    await terminal.type("marker-attached [[say typed]]");
    // Where typing and Enter come as one piece, as through two terminals, Claude takes them for pasted lines.
    await terminal.pressUntil("Enter", "the prompt", () => agent.model.asked("marker-attached") > 0);
    await terminal.untilShows(/● typed/);
    await terminal.press("C-b");
    await terminal.press("d");
    await terminal.untilExited([0]);
    await send(agent, "marker-after [[say still here]]", "--wait-reply");
    assertEquals((await agent.home.run(["stop", "label:api"])).code, 0);
  },
);

Deno.test("attach says where an agent is that is in another terminal, and --watch shows what happens there", () =>
  withRealAgent("claude", async (agent) => {
    const { home } = agent;
    const { command, args } = home.program;
    await using terminal = new TmuxTerminal();
    // Not told of tmux: as in a terminal window.
    const env = { ...home.env, TMUX: "", TMUX_PANE: "" };
    await terminal.start(["env", "-u", "TMUX", command, ...args, "claude", "--label", "api"], {
      cwd: home.cwd,
      env,
    });
    await home.untilReady("api");
    const refused = await home.run(["attach", "label:api"]);
    assertEquals(refused.code, 1);
    assertMatch(refused.err, /E_CONFLICT.*in a terminal of its own \(pid \d+\).*--watch/);
    const watch = home.start(["attach", "label:api", "--watch"]);
    await until("the watch", () => watch.out !== "");
    await send(agent, "marker-watched [[say seen by all]]", "--wait-reply");
    await until("what came", () => /message 1 from \S+: marker-watched/.test(watch.out));
    assertEquals((await home.run(["stop", "label:api"])).code, 0);
    assertEquals(await watch.ended(), 0);
    await terminal.untilExited([0]);
  }));

detached("a path means what it meant where it was typed", async (agent, detach) => {
  await Deno.writeTextFile(join(agent.dir, "task.md"), "marker-task [[say done]]");
  const started = await detach("--prompt-file", "task.md");
  assertEquals([started.code, started.err], [0, ""]);
  await agent.model.untilAsked("marker-task");
  assertEquals((await agent.home.run(["stop", "label:api"])).code, 0);
});

detached("an agent that does not start says why, and leaves no session", async (agent, detach) => {
  const broken = await detach("--", "--settings", "{broken");
  assertEquals([broken.code, broken.out], [3, ""]);
  assertMatch(broken.err, /^runner: error\[E_CONFIG\]: cannot read the --settings given to claude: .*\n$/s);
  agent.home.provider("claude", { command: "no-such-claude" });
  const missing = await detach();
  assertEquals([missing.code, missing.out], [5, ""]);
  assertMatch(missing.err, /E_PROVIDER_CMD.*no-such-claude/);
});

detached(
  "an agent that failed later leaves its last words, and its session to the next one",
  async (agent, detach) => {
    const nobodys = "00000000-0000-4000-8000-000000000000";
    assertEquals((await detach("--", "--resume", nobodys)).code, 0);
    const screen = async () => {
      const { stdout } = await agent.tmux("capture-pane", "-p", "-t", "claude-relay-api");
      return new TextDecoder().decode(stdout);
    };
    await until(
      "the end",
      async () => (await screen()).includes("[ended with code 1; Enter closes the window]"),
    );
    assertMatch(await screen(), /No conversation found/);
    assertEquals((await detach()).code, 0);
    await agent.home.untilReady("api");
    assertEquals((await agent.home.run(["stop", "label:api"])).code, 0);
  },
);

detached("what only the caller's process has is refused", async (agent, detach) => {
  const prompt = await detach("--prompt", "-");
  assertEquals(prompt.code, 2);
  assertMatch(prompt.err, /E_FLAG.*--detach and --prompt - exclude each other/);
  const token = await agent.home.run(["claude", "--detach"], { env: { AGENT_RELAY_TOKEN: "secret" } });
  assertEquals(token.code, 2);
  assertMatch(token.err, /E_FLAG.*--detach does not hand AGENT_RELAY_TOKEN on.*--token-file/);
});
