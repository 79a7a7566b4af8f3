import { assertEquals } from "@std/assert";
import { describeProcesses, processesWith, RUN_ARGS } from "../support/runner_process.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { gone, receiptOf, send, stagesOf, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";
import { TmuxTerminal } from "../support/tmux.ts";

/** What is on the bus by label: status, and why. */
async function statuses({ home }: RealAgent): Promise<Record<string, [string, unknown]>> {
  const cards = await home.agents() as { label: string; status: string; meta?: { reason?: string } }[];
  return Object.fromEntries(cards.map(({ label, status, meta }) => [label, [status, meta?.reason ?? null]]));
}

/** The processes of the agent and whether each is stopped. */
async function stopped({ home }: RealAgent): Promise<boolean[]> {
  const lines = await describeProcesses(await processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`));
  return lines.filter((line) => /\/(claude|codex) /.test(line)).map((line) => /^\s*\d+\s+\d+\s+T/.test(line));
}

for (const provider of ["claude", "codex"] as const) {
  Deno.test(`Ctrl-Z in ${provider} gives the shell back and leaves the relay to others; fg goes on where it was`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { home, model } = agent;
      await using terminal = new TmuxTerminal();
      // A shell with job control, as a person has it.
      Deno.writeTextFileSync(
        `${home.cwd}/start`,
        `exec ${
          [Deno.execPath(), ...RUN_ARGS, provider, "--label", "api"].map((word) => `'${word}'`).join(" ")
        }\n`,
      );
      await terminal.start(["bash", "--norc", "-i"], { cwd: home.cwd, env: { ...home.env, PS1: "shell$ " } });
      await terminal.untilShows(/shell\$/);
      await terminal.type("sh start");
      await terminal.press("Enter");
      // It is the first and serves the relay; the other one may take it over.
      await home.untilReady("api");
      const other = home.start(["echo", "--headless", "--label", "other"]);
      await home.untilReady("other");
      await terminal.untilShows(provider === "claude" ? /❯/ : /›/);
      await terminal.type("half typed line");

      await terminal.press("C-z");
      await terminal.untilShows(/Stopped/);
      await until("the relay at the other one", async () => (await statuses(agent)).other?.[0] === "idle");
      assertEquals((await statuses(agent)).api, ["stale", "suspended"]);
      const all = await stopped(agent);
      assertEquals(all, all.map(() => true), "a process of the agent works on without its runner");
      const answered = await home.run(["send", "label:other", "hello", "--wait-reply", "--timeout", "30s"]);
      assertEquals(answered.code, 0, answered.err);
      // A message for the one that is stopped waits for it.
      const sent = await home.run(["send", "label:api", "marker-z [[say zed]]", "--json"]);
      const { id } = (JSON.parse(sent.out) as { message: { id: number } }).message;

      // In the background there is no terminal for it: it stays as it is, and so does the bus.
      await terminal.type("bg");
      await terminal.press("Enter");
      await terminal.untilShows(/^\[1\]\+ sh start &$/m);
      await until("the end of bg", async () => (await stopped(agent)).every((each) => each));
      assertEquals((await statuses(agent)).api, ["stale", "suspended"]);
      assertEquals((await home.run(["send", "label:other", "hello", "--wait-reply"])).out, "echo: hello\n");
      assertEquals(agent.home.log().includes('"resumed"'), false);

      await terminal.type("fg");
      await terminal.press("Enter");
      await until("the message", async () => stagesOf(await receiptOf(agent, id)).includes("acked"), 30_000);
      assertEquals(model.asked("marker-z"), 1);
      await terminal.untilShows(/half typed line/);
      await until("status idle", async () => (await statuses(agent)).api?.[0] === "idle");
      assertEquals(await send(agent, "marker-on [[say on]]", "--wait-reply"), "on\n");

      assertEquals((await home.run(["stop", "label:api"])).code, 0);
      await terminal.untilShows(/shell\$ *$/m);
      assertEquals(await stopped(agent), []);
      other.kill("SIGTERM");
      assertEquals(await other.ended(), 0, other.err);
    });
  });

  Deno.test(`Ctrl-Z in ${provider} where there is no shell to go back to leaves the agent as it was`, async () => {
    await withSeat(provider, [], async (seat) => {
      const { home, terminal } = seat;
      await home.untilReady("api");
      await terminal.untilShows(provider === "claude" ? /❯/ : /›/);
      await terminal.type("half typed line");
      await terminal.press("C-z");
      // Nothing on the bus tells whether it was suspended at all: the log does.
      await until("the end of it", () => seat.home.log().includes('"resumed"'));
      await terminal.untilShows(provider === "claude" ? /❯\shalf typed line/ : /›\shalf typed line/);
      await terminal.type(" and more");
      await terminal.untilShows(/half typed line and more/);
      await home.untilReady("api");
      assertEquals(await send(seat, "marker-there [[say there]]", "--wait-reply"), "there\n");
      await terminal.untilShows(/half typed line and more/);
      assertEquals((await home.run(["stop", "label:api"])).code, 0);
      await gone(seat, 0);
    });
  });
}
