import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { selfCommand } from "../../lib/cli/self_command.ts";
import { unpackPlugin } from "../../lib/providers/claude/plugin.ts";
import { realClis } from "../support/real_clis.ts";
import { withRealAgent } from "../support/real_home.ts";
import { answer, command, conversationOf, DIALOG, quit, seat, sessionOf } from "../support/claude_seat.ts";
import { BIG, gone, heldBy401, receiptOf, send, stagesOf, statusIs } from "../support/seat.ts";
import { until } from "../support/temp.ts";

seat("a message to an idle session arrives beside a half-typed line, which stays as it is", async (seat) => {
  await seat.home.untilReady("api");
  await seat.terminal.type("half typed line");
  await seat.terminal.untilShows(/half typed line/);
  assertEquals(await send(seat, "marker-idle [[say an answer]]", "--wait-reply"), "an answer\n");
  assertEquals(seat.model.asked("marker-idle"), 1);
  assertEquals(seat.model.asked("half typed line"), 0, "the person's draft went to the model");
  await seat.terminal.untilShows(/❯\s+half typed line/);
  assertEquals(stagesOf(await receiptOf(seat, 1)).slice(0, 4), ["received", "handed", "placed", "seen"]);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat(
  "a message while text streams becomes the next turn, and the status goes busy and idle",
  async (seat) => {
    await seat.home.untilReady("api");
    await seat.terminal.type("mine [[slow 2500]]");
    await seat.terminal.press("Enter");
    await seat.model.untilAsked("mine");
    await statusIs(seat, "busy");
    assertEquals(await send(seat, "marker-stream [[say two]]", "--wait-reply"), "two\n");
    assertEquals(seat.model.asked("marker-stream"), 1);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat("a message while a tool runs is steered into the turn with --when next", async (seat) => {
  await seat.home.untilReady("api");
  const tool = JSON.stringify({ command: "sleep 3", description: "mock" });
  await seat.terminal.type(`work [[tool Bash ${tool}]]`);
  await seat.terminal.press("Enter");
  await seat.model.untilAsked("work");
  await statusIs(seat, "busy");
  await send(seat, "marker-tool", "--when", "next", "--until", "seen");
  assertEquals(seat.model.requests.filter((request) => request.history.includes("marker-tool")).length, 1);
  await statusIs(seat, "idle");
  await quit(seat);
}, ["--approval", "open"]);

seat(
  "a message while a permission dialog is open waits for the person's answer and does not answer it",
  async (seat) => {
    await seat.home.untilReady("api");
    const tool = JSON.stringify({ command: `touch ${seat.dir}/allowed`, description: "mock" });
    await seat.terminal.type(`ask [[tool Bash ${tool}]]`);
    await seat.terminal.press("Enter");
    await seat.terminal.untilShows(DIALOG);
    await until("the reason approval", async () => {
      const meta = (await seat.home.agents())[0]!.meta as { busyReasons?: string[] };
      return meta.busyReasons?.includes("approval") === true;
    }, 10_000);
    const waiting = send(seat, "marker-dialog [[say three]]", "--until", "seen");
    await until("the hand-over", async () => {
      const { out } = await seat.home.run(["receipt", "1", "--json"]);
      return out.includes('"handed"');
    });
    await seat.terminal.untilShows(/1\. Yes/);
    await answer(seat, "Enter");
    await waiting;
    assertEquals(await Deno.stat(`${seat.dir}/allowed`).then(() => true, () => false), true);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat("a message of 84 kB arrives whole", async (seat) => {
  await seat.home.untilReady("api");
  assertEquals(await send(seat, BIG, "--wait-reply"), "big\n");
  assertStringIncludes(seat.model.requests.at(-1)!.text, BIG);
  await quit(seat);
});

seat(
  "Esc during a turn: the status is right though no hook fires, and the next message arrives",
  async (seat) => {
    await seat.home.untilReady("api");
    await seat.terminal.type("hang on [[hang]]");
    await seat.terminal.press("Enter");
    await seat.model.untilAsked("hang on");
    await statusIs(seat, "busy");
    await seat.terminal.press("Escape");
    await statusIs(seat, "idle");
    seat.model.decide = (request) =>
      request.text.includes("after-esc") ? { kind: "say", text: "back" } : null;
    assertEquals(await send(seat, "after-esc", "--wait-reply"), "back\n");
    await quit(seat);
  },
);

seat(
  "Esc while our message is being answered: it was seen, it failed, and it is not done again",
  async (seat) => {
    await seat.home.untilReady("api");
    await seat.home.run(["send", "label:api", "marker-cut [[hang]]"]);
    await seat.model.untilAsked("marker-cut");
    await seat.terminal.untilShows(/esc to interrupt/);
    await seat.terminal.press("Escape");
    await until("the failure", async () => stagesOf(await receiptOf(seat, 1)).includes("failed"));
    await statusIs(seat, "idle");
    const [recipient] = (await receiptOf(seat, 1)).recipients;
    assertEquals(stagesOf(await receiptOf(seat, 1)).slice(0, 5), [
      "received",
      "handed",
      "placed",
      "seen",
      "failed",
    ]);
    assertEquals(recipient!.read, true);
    assertEquals(await send(seat, "marker-after [[say after]]", "--wait-reply"), "after\n");
    assertEquals([seat.model.asked("marker-cut"), seat.model.asked("marker-after")], [1, 1]);
    await quit(seat);
  },
);

seat(
  "Esc before the model said anything: the message is not taken for seen, and comes again",
  async (seat) => {
    await seat.home.untilReady("api");
    const silence = Promise.withResolvers<null>();
    seat.model.decide = () => silence.promise;
    await seat.home.run(["send", "label:api", "marker-mute [[say heard]]"]);
    await seat.model.untilAsked("marker-mute");
    await seat.terminal.untilShows(/esc to interrupt/);
    seat.model.decide = null;
    await seat.terminal.press("Escape");
    await seat.model.untilAsked("marker-mute", 2);
    silence.resolve(null);
    await until("the end", async () => stagesOf(await receiptOf(seat, 1)).includes("acked"));
    assertEquals(stagesOf(await receiptOf(seat, 1)), [
      ...["received", "handed", "placed", "retry"],
      ...["handed", "placed", "seen", "done", "acked"],
    ]);
    assertStringIncludes(seat.model.requests.at(-1)!.text, "redelivery=1");
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat(
  "/resume inside the TUI: what was said there before proves nothing, and messages arrive there",
  async (seat) => {
    await seat.home.untilReady("api");
    await send(seat, "before-clear [[say one]]", "--wait-reply");
    const first = conversationOf(seat);
    await command(seat, "/clear");
    await until("another conversation", () => conversationOf(seat) !== first);
    await send(seat, "after-clear [[say two]]", "--wait-reply");
    await command(seat, "/resume");
    await seat.terminal.untilShows(/Resume session/);
    await seat.terminal.untilShows(/ work\n\s+❯ /);
    await seat.terminal.pressUntil("Enter", "the first conversation", () => conversationOf(seat) === first);
    assertEquals(await send(seat, "after-resume [[say three]]", "--wait-reply"), "three\n");
    const { history } = seat.model.requests.at(-1)!;
    assertEquals([history.includes("before-clear"), history.includes("after-clear")], [true, false]);
    assertEquals(seat.model.asked("after-resume"), 1);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat("/clear begins another conversation in the same agent, and messages arrive there", async (seat) => {
  const before = await seat.home.untilReady("api");
  await send(seat, "before-clear [[say one]]", "--wait-reply");
  const cleared = conversationOf(seat);
  await command(seat, "/clear");
  await until("another conversation", () => conversationOf(seat) !== cleared);
  assertEquals(await send(seat, "after-clear [[say two]]", "--wait-reply"), "two\n");
  assertEquals(seat.model.requests.at(-1)!.history.includes("before-clear"), false);
  const after = await seat.home.untilReady("api");
  assertEquals([after.id, after.instanceId], [before.id, before.instanceId]);
  await quit(seat);
});

seat(
  "restart and stop by command: the conversation goes on, then the terminal is the person's again",
  async (seat) => {
    await seat.home.untilReady("api");
    await send(seat, "remember zebra-77 [[say ok]]", "--wait-reply");
    const restarted = await seat.home.run(["restart", "label:api"]);
    assertEquals(restarted.code, 0, restarted.err);
    await send(seat, "after restart [[say here]]", "--wait-reply");
    assertStringIncludes(seat.model.requests.at(-1)!.history, "zebra-77");
    // Lifecycle commands that follow each other within 5 s are refused.
    await until("the stop", async () => (await seat.home.run(["stop", "label:api"])).code === 0);
    await gone(seat, 0);
  },
);

seat("stop --hard in the middle of a turn ends it at once", async (seat) => {
  await seat.home.untilReady("api");
  await seat.home.run(["send", "label:api", "hang on [[hang]]"]);
  await seat.model.untilAsked("hang on");
  const stopped = await seat.home.run(["stop", "label:api", "--hard"]);
  assertEquals(stopped.code, 0, stopped.err);
  await gone(seat, 0);
});

seat("SIGKILL of the agent: it comes back with its conversation, and nothing is lost", async (seat) => {
  await seat.home.untilReady("api");
  await send(seat, "remember lion-88 [[say ok]]", "--wait-reply");
  Deno.kill(sessionOf(seat).pid, "SIGKILL");
  const sent = send(seat, "after kill [[say again]]", "--wait-reply");
  assertEquals(await sent, "again\n");
  assertStringIncludes(seat.model.requests.at(-1)!.history, "lion-88");
  assertEquals(seat.model.asked("after kill"), 1);
  await quit(seat);
});

seat("a turn that ends in 401 is reported as such and nothing is acked", async (seat) => {
  await seat.home.untilReady("api");
  await heldBy401(seat);
  await quit(seat);
});

Deno.test("claude plugin validate accepts the plugin as it is unpacked, and a session offers its skill", async () => {
  await withRealAgent("claude", async (agent) => {
    const { claude } = await realClis();
    const stateDir = join(agent.dir, "unpacked");
    Deno.mkdirSync(stateDir, { mode: 0o700 });
    for (const each of [false, true]) {
      const plugin = unpackPlugin({ stateDir, self: selfCommand }, { monitor: each, tools: each });
      const { code, stdout } = await new Deno.Command(claude, {
        args: ["plugin", "validate", plugin],
        clearEnv: true,
        env: agent.home.env,
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stdout));
    }
    const runner = agent.home.start(["claude", "--headless", "--label", "api"]);
    await agent.home.untilReady("api");
    await send(agent, "hello", "--wait-reply");
    assertStringIncludes(JSON.stringify(agent.model.requests.at(-1)!.body), "agent-relay:relay");
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  });
});
