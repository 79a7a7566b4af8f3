import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { isThere } from "../../lib/base/private_file.ts";
import { command, quit, seat, sessionOf } from "../support/claude_seat.ts";
import type { RealAgent } from "../support/real_home.ts";
import { gone, pidOfRunner, receiptOf, send, stagesOf, statusIs, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

seat("SIGTERM to the runner lets the turn finish, then the terminal is the person's again", async (seat) => {
  await seat.home.untilReady("api");
  await seat.home.run(["send", "label:api", "marker-drain [[slow 1500]] [[say finished]]"]);
  await seat.model.untilAsked("marker-drain");
  Deno.kill(pidOfRunner(seat), "SIGTERM");
  await gone(seat, 0);
  assertEquals(seat.model.asked("marker-drain"), 1);
  // The relay went with the runner; what it wrote says that the turn was let finish and the message acked.
  const relay = seat.home.start(["relay"]);
  let stages: string[] = [];
  await until("the receipt", async () => {
    stages = await receiptOf(seat, 1).then(stagesOf, () => []);
    return stages.length > 0;
  });
  assertEquals(["seen", "done", "acked"].filter((stage) => !stages.includes(stage)), [], stages.join());
  relay.kill("SIGTERM");
  assertEquals(await relay.ended(), 0, relay.err);
});

seat("SIGKILL of the runner leaves no agent, and a terminal that a shell can use", async (seat) => {
  await seat.home.untilReady("api");
  await seat.terminal.type("half a line");
  Deno.kill(pidOfRunner(seat), "SIGKILL");
  await gone(seat, 137);
});

seat("SIGKILL of runner and agent at once: the guard puts the terminal in order", async (seat) => {
  await seat.home.untilReady("api");
  const { pid } = sessionOf(seat);
  Deno.kill(pidOfRunner(seat), "SIGKILL");
  Deno.kill(pid, "SIGKILL");
  await gone(seat, 137);
});

seat(
  "a runner that hangs costs the agent a second per event, and is right again once it goes on",
  async (seat) => {
    await seat.home.untilReady("api");
    const runner = pidOfRunner(seat);
    Deno.kill(runner, "SIGSTOP");
    try {
      await seat.terminal.type("mine [[say while it hangs]]");
      const began = performance.now();
      await seat.terminal.press("Enter");
      await seat.terminal.untilShows(/● while it hangs/);
      // Two events of at most 1 s; five times that for a machine under load.
      assertEquals(performance.now() - began < 10_000, true);
    } finally {
      Deno.kill(runner, "SIGCONT");
    }
    await statusIs(seat, "idle");
    assertEquals(await send(seat, "marker-back [[say back]]", "--wait-reply"), "back\n");
    await quit(seat);
  },
);

seat("hooks of the live session reach the runner, and nothing of ours is on the screen", async (seat) => {
  await seat.home.untilReady("api");
  await send(seat, "marker-hook [[say one]]", "--wait-reply");
  await command(seat, "/clear");
  await seat.terminal.type("mine [[error 500]]");
  await seat.terminal.press("Enter");
  await seat.model.untilAsked("mine");
  const log = () => seat.home.log();
  const expected = ["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd", "StopFailure"];
  await until("every hook", () => expected.every((name) => log().includes(`"name":"${name}"`)));
  const screen = await seat.terminal.capture();
  assertEquals(/hook/i.test(screen), false, screen);
  assertMatch(await seat.terminal.title(), /Claude|mine|✳/);
  await quit(seat);
}, ["--log-level", "debug"]);

Deno.test("claude in the terminal: hooks go past a proxy that the environment names", async () => {
  const asked: string[] = [];
  const proxy = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked.push(`${request.method} ${request.url}`);
    return new Response(null, { status: 502 });
  });
  const url = `http://127.0.0.1:${proxy.addr.port}`;
  try {
    await withSeat("claude", ["--log-level", "debug"], async (seat) => {
      await seat.home.untilReady("api");
      await send(seat, "marker-proxy [[say one]]", "--wait-reply");
      await until(
        "the hooks",
        () =>
          ["SessionStart", "UserPromptSubmit", "Stop"].every((name) =>
            seat.home.log().includes(`"name":"${name}"`)
          ),
      );
      await quit(seat);
    }, { env: { HTTP_PROXY: url, http_proxy: url, HTTPS_PROXY: url, https_proxy: url } });
    // What Claude Code itself wants from the world is not ours.
    const ours = () => asked.filter((each) => /127\.0\.0\.1|localhost/.test(each));
    assertEquals(ours(), []);
    // The positive control: a hook that took the proxy would be among them.
    using client = Deno.createHttpClient({ proxy: { url } });
    await (await fetch("http://127.0.0.1:4851/hook/Stop", { client })).body?.cancel();
    assertEquals(ours(), ["GET http://127.0.0.1:4851/hook/Stop"], asked.join());
  } finally {
    await proxy.shutdown();
  }
});

seat("a person's own hooks and settings work beside ours", async (seat) => {
  await seat.home.untilReady("api");
  await send(seat, "marker-own [[say one]]", "--wait-reply");
  await until("their hook", () => isThere(join(seat.dir, "own-hook")));
  await until("our hook", () => seat.home.log().includes('"name":"Stop"'));
  await quit(seat);
}, [
  "--log-level",
  "debug",
  "--",
  "--settings",
  JSON.stringify({ hooks: { Stop: [{ hooks: [{ type: "command", command: "touch ../own-hook" }] }] } }),
]);

seat("the size of the window reaches the agent", async (seat) => {
  await seat.home.untilReady("api");
  await seat.terminal.untilShows(/^─{120}$/m);
  await seat.terminal.resize(90, 30);
  await seat.terminal.untilShows(/^─{90}$/m);
  await quit(seat);
});

seat(
  "the exit code of an agent that cannot start is the run's, and what it said stays to be read",
  async (seat) => {
    await seat.terminal.untilShows(/No conversation found/);
    await gone(seat, 1);
  },
  ["--", "--resume", "00000000-0000-4000-8000-000000000000"],
);

seat("settings that cannot be read end the start before the agent has the terminal", async (seat) => {
  await seat.terminal.untilShows(/E_CONFIG/);
  await gone(seat, 3);
  assertEquals(seat.model.requests.length, 0);
}, ["--", "--settings", "{broken"]);

/** A session that begins with a dialog, which is named and never answered. */
function dialog(
  name: string,
  shown: RegExp,
  given: { config: Record<string, unknown>; env?: Record<string, string>; args?: string[] },
): void {
  const prepare = (agent: RealAgent) =>
    Deno.writeTextFileSync(
      join(agent.dir, "claude", ".claude.json"),
      JSON.stringify(
        { projects: { [agent.home.cwd]: { hasTrustDialogAccepted: true } }, ...given.config },
      ),
    );
  Deno.test(`claude in the terminal: a ${name} is named on the bus and in the log, and never answered`, async () => {
    await withSeat("claude", ["--", ...(given.args ?? [])], async (seat) => {
      const { home, terminal } = seat;
      await terminal.untilShows(shown);
      let reason: unknown;
      await until("the dialog's name on the bus", async () => {
        reason = ((await home.agents())[0]?.meta as { reason?: string } | undefined)?.reason;
        return typeof reason === "string" && reason.startsWith("blocked");
      });
      assertEquals(reason, `blocked: ${name}`);
      assertStringIncludes(seat.home.log(), `blocked: ${name}`);
      await home.run(["send", "label:api", "waits"]);
      await terminal.untilShows(shown);
      assertEquals(seat.model.requests.length, 0);
      const stopped = await home.run(["stop", "label:api"]);
      assertEquals(stopped.code, 0, stopped.err);
      await gone(seat, 0);
    }, { prepare, env: given.env ?? {} });
  });
}

const onboarded = { hasCompletedOnboarding: true };
dialog("onboarding dialog", /Choose the text style/, { config: {} });
dialog("trust dialog", /Yes, I trust this folder/, { config: { ...onboarded, projects: {} } });
dialog("API key dialog", /custom API key/, {
  config: onboarded,
  env: { ANTHROPIC_API_KEY: "sk-ant-mock-1234567890123456789012345", ANTHROPIC_AUTH_TOKEN: "" },
});
dialog("bypass permissions dialog", /Bypass Permissions mode/, {
  config: onboarded,
  args: ["--dangerously-skip-permissions"],
});

Deno.test("claude in the terminal: in the bypass mode that its person chose and agreed to, a message needs no word of theirs", async () => {
  await withSeat("claude", ["--", "--dangerously-skip-permissions"], async (seat) => {
    await seat.terminal.untilShows(/Bypass Permissions mode/);
    await seat.terminal.press("Down");
    await seat.terminal.press("Enter");
    await seat.home.untilReady("api");
    await send(seat, "marker-bypass [[say taken]]", "--wait-reply");
    assertEquals(seat.model.asked("marker-bypass"), 1);
    await quit(seat);
  });
});
