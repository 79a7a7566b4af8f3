import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describeProcesses, processesWith } from "../support/runner_process.ts";
import { BIG, gone, heldBy401, type Seat, send, statusIs, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

function seat(name: string, work: (seat: Seat) => Promise<void>): void {
  Deno.test(`codex in the terminal: ${name}`, () =>
    withSeat("codex", [], async (each) => {
      await each.home.untilReady("api");
      await each.terminal.untilShows(/›/);
      await work(each);
    }));
}

async function quit(seat: Seat): Promise<void> {
  // Twice ends it; a TUI that is still drawing takes the first one for something else.
  await until("the end of the TUI", async () => {
    await seat.terminal.press("C-c");
    await new Promise((resolve) => setTimeout(resolve, 200));
    return /exit=\d/.test(await seat.terminal.capture());
  });
  await gone(seat, 0);
}

seat(
  "a message to an idle session appears in the TUI beside a half-typed line, which stays as it is",
  async (seat) => {
    await seat.terminal.type("half typed line");
    await seat.terminal.untilShows(/half typed line/);
    assertEquals(await send(seat, "marker-idle [[say an answer]]", "--wait-reply"), "an answer\n");
    assertEquals([seat.model.asked("marker-idle"), seat.model.asked("half typed line")], [1, 0]);
    await seat.terminal.untilShows(/an answer/);
    assertMatch(await seat.terminal.capture(), /›\s+half typed line/);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat("the person's own turn shows in the status, and a message waits for its end", async (seat) => {
  await seat.terminal.type("mine [[slow 2500]]");
  await seat.terminal.untilShows(/slow 2500/);
  await seat.terminal.press("Enter");
  await seat.model.untilAsked("mine");
  await statusIs(seat, "busy");
  assertEquals(await send(seat, "marker-stream [[say two]]", "--wait-reply"), "two\n");
  assertEquals(seat.model.asked("marker-stream"), 1);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("an approval is left to the person at the TUI", async (seat) => {
  const call = {
    cmd: `touch ${seat.dir}/outside`,
    sandbox_permissions: "require_escalated",
    justification: "test",
  };
  await send(seat, `do it [[tool exec_command ${JSON.stringify(call)}]]`);
  await seat.terminal.untilShows(/Yes, proceed|1\. Yes/);
  await until("the reason approval", async () => {
    const meta = (await seat.home.agents())[0]!.meta as { busyReasons?: string[] };
    return meta.busyReasons?.includes("approval") === true;
  }, 10_000);
  await seat.terminal.press("Enter");
  await until(
    "the work that was allowed",
    () => Deno.stat(`${seat.dir}/outside`).then(() => true, () => false),
  );
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("Esc during the person's turn: idle, and the next message arrives", async (seat) => {
  await seat.terminal.type("hang on [[hang]]");
  await seat.terminal.untilShows(/hang on/);
  await seat.terminal.press("Enter");
  await seat.model.untilAsked("hang on");
  await statusIs(seat, "busy");
  await seat.terminal.press("Escape");
  await statusIs(seat, "idle");
  seat.model.decide = (request) => request.text.includes("after-esc") ? { kind: "say", text: "back" } : null;
  assertEquals(await send(seat, "after-esc", "--wait-reply"), "back\n");
  await quit(seat);
});

seat("/new begins another conversation, and messages arrive there", async (seat) => {
  await send(seat, "before-new [[say one]]", "--wait-reply");
  await seat.terminal.type("/new");
  await seat.terminal.untilShows(/\/new/);
  await seat.terminal.press("Enter");
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assertEquals(await send(seat, "after-new [[say two]]", "--wait-reply"), "two\n");
  assertEquals(seat.model.requests.at(-1)!.history.includes("before-new"), false);
  await quit(seat);
});

seat(
  "restart and stop by command: the conversation goes on, then the terminal is the person's again",
  async (seat) => {
    await send(seat, "remember zebra-77 [[say ok]]", "--wait-reply");
    const restarted = await seat.home.run(["restart", "label:api"]);
    assertEquals(restarted.code, 0, restarted.err);
    await send(seat, "after restart [[say here]]", "--wait-reply");
    assertStringIncludes(seat.model.requests.at(-1)!.history, "zebra-77");
    const stopped = await seat.home.run(["stop", "label:api", "--hard"]);
    assertEquals(stopped.code, 0, stopped.err);
    await gone(seat, 0);
  },
);

seat("a turn that ends in 401 is reported as such and nothing is acked", async (seat) => {
  await heldBy401(seat);
  await quit(seat);
});

seat("a message of 84 kB arrives whole", async (seat) => {
  assertEquals(await send(seat, BIG, "--wait-reply"), "big\n");
  assertStringIncludes(seat.model.requests.at(-1)!.text, BIG);
  await quit(seat);
});

seat("a message while a tool runs waits for the end of the turn", async (seat) => {
  await seat.terminal.type('work [[tool exec_command {"cmd":"sleep 3"}]]');
  await seat.terminal.untilShows(/sleep 3/);
  await seat.terminal.press("Enter");
  await seat.model.untilAsked("work");
  await statusIs(seat, "busy");
  assertEquals(await send(seat, "marker-tool [[say after]]", "--wait-reply"), "after\n");
  assertEquals(seat.model.asked("marker-tool"), 1);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("SIGKILL of the app-server: it comes back with its conversation, and nothing is lost", async (seat) => {
  await send(seat, "remember lion-88 [[say ok]]", "--wait-reply");
  const found = await describeProcesses(await processesWith(`AGENT_RELAY_CONTROL_FILE=${seat.home.home}`));
  const server = found.find((line) => line.includes("app-server"))!;
  Deno.kill(Number(server.trim().split(/\s+/)[0]), "SIGKILL");
  assertEquals(await send(seat, "after kill [[say again]]", "--wait-reply"), "again\n");
  assertStringIncludes(seat.model.requests.at(-1)!.history, "lion-88");
  assertEquals(seat.model.asked("after kill"), 1);
  await quit(seat);
});
