import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describeProcesses, processesWith } from "../support/runner_process.ts";
import {
  BIG,
  gone,
  heldBy401,
  receiptOf,
  type Seat,
  send,
  stagesOf,
  statusIs,
  withSeat,
} from "../support/seat.ts";
import { until } from "../support/temp.ts";

function seat(name: string, work: (seat: Seat) => Promise<void>): void {
  Deno.test(`codex in the terminal: ${name}`, () =>
    withSeat("codex", [], async (each) => {
      await each.home.untilReady("api");
      await each.terminal.untilShows(/›/);
      await work(each);
    }));
}

/** Process ids of the run: the TUI is the one with --remote, the server says app-server. */
async function pids({ home }: Seat, kind: "app-server" | "--remote"): Promise<number[]> {
  const lines = await describeProcesses(await processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`));
  return lines.filter((line) => line.includes(` ${kind} `)).map((line) =>
    Number(line.trim().split(/\s+/)[0])
  );
}

async function pidOf(seat: Seat, kind: "app-server" | "--remote"): Promise<number> {
  const found = await pids(seat, kind);
  assertEquals(found.length, 1, `one process with ${kind}`);
  return found[0]!;
}

/**
 * Ctrl-C ends the TUI, or clears a half-typed line first, which takes another one. That one may come while the TUI
 * leaves raw mode, and be a signal then: a screen tells nothing of that, so the run may end with either code.
 */
async function quit(seat: Seat): Promise<void> {
  const over = async () => (await pids(seat, "--remote")).length === 0;
  let presses = 0;
  await until("the end of the TUI", async () => {
    await seat.terminal.press("C-c");
    presses++;
    return await until("an effect of Ctrl-C", over, 3_000).then(() => true, () => false);
  });
  await gone(seat, ...(presses === 1 ? [0] : [0, 130]));
}

/** Sends without waiting and returns the message's id. */
async function post(seat: Seat, text: string, ...flags: string[]): Promise<number> {
  return (JSON.parse(await send(seat, text, "--json", ...flags)) as { message: { id: number } }).message.id;
}

async function untilStage(seat: Seat, id: number, stage: string): Promise<string[]> {
  let stages: string[] = [];
  await until(`stage ${stage} of message ${id}`, async () => {
    stages = stagesOf(await receiptOf(seat, id));
    return stages.includes(stage);
  }, 30_000);
  return stages;
}

/** Types a line and sends it; keys that come too fast are taken for a paste, of which Enter is a part. */
async function say(seat: Seat, text: string): Promise<void> {
  await seat.terminal.type(text);
  await seat.terminal.pressUntil("Enter", `"${text}" to be asked`, () => seat.model.asked(text) > 0);
}

/** Runs a slash command; a TUI that has just re-attached takes Enter only a moment later. */
async function slash(seat: Seat, command: string, taken: (screen: string) => boolean): Promise<void> {
  const offered = new RegExp(`${command} {2,}\\S`);
  await seat.terminal.type(command);
  await seat.terminal.untilShows(offered);
  const screen = () => seat.terminal.capture();
  const soon = () => until(command, async () => taken(await screen()), 2_000).then(() => true, () => false);
  await until(`${command} to be taken`, async () => {
    if (offered.test(await screen())) await seat.terminal.press("Enter");
    return await soon();
  });
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

const newest = (seat: Seat) => seat.model.requests.at(-1)!;

seat(
  "a message to an idle session appears in the TUI beside a half-typed line, which stays as it is",
  async (seat) => {
    await seat.terminal.type("half typed line");
    assertEquals(await send(seat, "marker-idle [[say an answer]]", "--wait-reply"), "an answer\n");
    assertEquals([seat.model.asked("marker-idle"), seat.model.asked("half typed line")], [1, 0]);
    await seat.terminal.untilShows(/an answer/);
    await seat.terminal.untilShows(/›\s+half typed line/);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat("the person's own turn shows in the status, and a message waits for its end", async (seat) => {
  await say(seat, "mine [[slow 2500]]");
  await statusIs(seat, "busy");
  assertEquals(await send(seat, "marker-stream [[say two]]", "--wait-reply"), "two\n");
  assertEquals([seat.model.asked("marker-stream"), newest(seat).history.includes("mine [[slow")], [1, true]);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("a message while a tool runs waits for the end of the turn", async (seat) => {
  await say(seat, 'work [[tool exec_command {"cmd":"sleep 3"}]]');
  await statusIs(seat, "busy");
  assertEquals(await send(seat, "marker-tool [[say after]]", "--wait-reply"), "after\n");
  assertEquals(seat.model.asked("marker-tool"), 1);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("an open approval is the person's: a message waits for it and does not answer it", async (seat) => {
  const call = {
    cmd: `touch ${seat.dir}/outside`,
    sandbox_permissions: "require_escalated",
    justification: "t",
  };
  await send(seat, `do it [[tool exec_command ${JSON.stringify(call)}]]`);
  await seat.terminal.untilShows(/Yes, proceed|1\. Yes/);
  await until("the reason approval", async () => {
    const meta = (await seat.home.agents())[0]!.meta as { busyReasons?: string[] };
    return meta.busyReasons?.includes("approval") === true;
  }, 10_000);
  const waiting = await post(seat, "marker-behind [[say behind]]");
  await untilStage(seat, waiting, "received");
  assertEquals([seat.model.asked("marker-behind"), await exists(`${seat.dir}/outside`)], [0, false]);
  await seat.terminal.untilShows(/Yes, proceed|1\. Yes/);
  await seat.terminal.press("Enter");
  await until("the work that was allowed", () => exists(`${seat.dir}/outside`));
  await untilStage(seat, waiting, "done");
  assertEquals(seat.model.asked("marker-behind"), 1);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("Esc during the person's turn: idle, and a message that waited behind it arrives", async (seat) => {
  await say(seat, "hang on [[hang]]");
  await statusIs(seat, "busy");
  seat.model.decide = (request) => request.text.includes("behind-esc") ? { kind: "say", text: "back" } : null;
  const waiting = await post(seat, "behind-esc");
  await untilStage(seat, waiting, "handed");
  await seat.terminal.press("Escape");
  await untilStage(seat, waiting, "done");
  assertEquals(seat.model.asked("behind-esc"), 1);
  await statusIs(seat, "idle");
  await quit(seat);
});

seat("Esc during the turn that handles a message ends that turn only: seen once, then idle", async (seat) => {
  const cut = await post(seat, "cut-me [[slow 60000]] [[say a long answer that takes its time]]");
  await untilStage(seat, cut, "seen");
  await statusIs(seat, "busy");
  await seat.terminal.press("Escape");
  assert((await untilStage(seat, cut, "failed")).includes("acked"));
  await statusIs(seat, "idle");
  seat.model.decide = (request) => request.text.includes("after-cut") ? { kind: "say", text: "on" } : null;
  assertEquals(await send(seat, "after-cut", "--wait-reply"), "on\n");
  assertEquals([seat.model.asked("cut-me [[slow"), seat.model.asked("after-cut")], [2, 1]);
  assertEquals(
    seat.model.requests.filter((each) => each.text.includes("cut-me") && !each.text.includes("after-cut"))
      .length,
    1,
  );
  await quit(seat);
});

seat("/new and /resume are followed: messages go to the conversation the person looks at", async (seat) => {
  await send(seat, "in the first one [[say one]]", "--wait-reply");
  await slash(seat, "/new", (screen) => !/in the first one/.test(screen));
  // The approval mode of the run holds here too: inside the directory the agent may write.
  const call = { cmd: `touch ${seat.home.cwd}/inside` };
  await send(seat, `in the second [[tool exec_command ${JSON.stringify(call)}]] [[say two]]`, "--wait-reply");
  assertEquals(newest(seat).history.includes("in the first one"), false);
  await seat.terminal.untilShows(/in the second/);
  assert(await exists(`${seat.home.cwd}/inside`), "the new conversation may not write");
  // Back to the first one, which the server still has loaded.
  const back = async () => {
    await slash(seat, "/resume", (screen) => /Resume a previous session/.test(screen));
    // The newest row is the one on screen; the one below it is the other conversation.
    const rows = async () =>
      (await seat.terminal.capture()).split("\n").filter((line) => /(?:now|ago) {2,}/.test(line));
    await until("both conversations", async () => (await rows()).length === 2);
    await seat.terminal.press("Down");
    await until("the other one", async () => /^\s*›/.test((await rows())[1] ?? ""));
    await seat.terminal.press("Enter");
  };
  await back();
  await seat.terminal.untilShows(/in the first one/);
  assertEquals(await send(seat, "again in the first [[say three]]", "--wait-reply"), "three\n");
  assertStringIncludes(newest(seat).history, "in the first one");
  assertEquals(newest(seat).history.includes("in the second"), false);
  // A restart takes the person back to where they were; the other one is only stored now.
  assertEquals((await seat.home.run(["restart", "label:api"])).code, 0);
  assertEquals(await send(seat, "after the restart [[say four]]", "--wait-reply"), "four\n");
  assertStringIncludes(newest(seat).history, "again in the first");
  await seat.terminal.untilShows(/four/);
  await back();
  await seat.terminal.untilShows(/in the second/);
  assertEquals(await send(seat, "back in the second [[say five]]", "--wait-reply"), "five\n");
  assertEquals(
    [newest(seat).history.includes("in the second"), newest(seat).history.includes("in the first one")],
    [true, false],
  );
  for (const marker of ["again in the first", "after the restart", "back in the second"]) {
    assertEquals(seat.model.asked(marker), 1, marker);
  }
  await statusIs(seat, "idle");
  await quit(seat);
});

seat(
  "restart by command: the TUI stays with its half-typed line and is back on the conversation",
  async (seat) => {
    await send(seat, "remember zebra-77 [[say ok]]", "--wait-reply");
    const [server, tui] = [await pidOf(seat, "app-server"), await pidOf(seat, "--remote")];
    await seat.terminal.type("half typed line");
    const restarted = await seat.home.run(["restart", "label:api"]);
    assertEquals(restarted.code, 0, restarted.err);
    assertEquals(await send(seat, "after restart [[say here]]", "--wait-reply"), "here\n");
    assertStringIncludes(newest(seat).history, "zebra-77");
    await seat.terminal.untilShows(/here/);
    await seat.terminal.untilShows(/›\s+half typed line/);
    assertEquals([await pidOf(seat, "--remote"), await pidOf(seat, "app-server") === server], [tui, false]);
    // The person can go on: the TUI has more than a picture of the conversation. It takes Enter a moment later.
    await seat.terminal.pressUntil(
      "Enter",
      "the line to be sent",
      () => seat.model.asked("half typed line") > 0,
    );
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

for (const how of ["orderly", "hard"] as const) {
  seat(`stop by command, ${how}: the terminal is the person's again`, async (seat) => {
    await send(seat, "hello [[say ok]]", "--wait-reply");
    const stopped = await seat.home.run(["stop", "label:api", ...(how === "hard" ? ["--hard"] : [])]);
    assertEquals(stopped.code, 0, stopped.err);
    await gone(seat, 0);
  });
}

seat("quit by the person during a turn ends the run with the TUI's code", async (seat) => {
  await say(seat, "mine [[hang]]");
  await seat.terminal.type("/quit");
  await seat.terminal.press("Enter");
  await gone(seat, 0);
  // Codex says that the work goes on.
  const said = (await seat.terminal.capture()).replaceAll("\n", "");
  assertMatch(
    said,
    /the agent has ended, with all its work; go on with: runner codex --label api --conversation [0-9a-f-]{36}/,
  );
});

seat(
  "Ctrl-C that comes as a signal, while the TUI leaves raw mode, ends the run and does not open it again",
  async (seat) => {
    Deno.kill(await pidOf(seat, "--remote"), "SIGINT");
    await gone(seat, 130);
  },
);

seat("a turn that ends in 401 is reported as such and nothing is acked", async (seat) => {
  await heldBy401(seat);
  await quit(seat);
});

seat("a message of 84 kB arrives whole", async (seat) => {
  assertEquals(await send(seat, BIG, "--wait-reply"), "big\n");
  assertStringIncludes(newest(seat).text, BIG);
  await quit(seat);
});

seat(
  "SIGKILL of the app-server: the TUI stays with its line and re-attaches, its shell commands are ended",
  async (seat) => {
    await send(seat, "remember lion-88 [[say ok]]", "--wait-reply");
    await say(seat, `work [[tool exec_command {"cmd":"sleep 301 & sleep 302"}]]`);
    const sleepers = async () =>
      (await describeProcesses(await processesWith(`AGENT_RELAY_CONTROL_FILE=${seat.home.home}`)))
        .filter((line) => /sleep 30[12]/.test(line)).length;
    await until("the command", async () => await sleepers() > 0);
    const [server, tui] = [await pidOf(seat, "app-server"), await pidOf(seat, "--remote")];
    await seat.terminal.type("half typed line");
    Deno.kill(server, "SIGKILL");
    await seat.terminal.untilShows(/Reconnecting/i);
    seat.model.decide = (request) =>
      request.text.includes("after kill") ? { kind: "say", text: "again" } : null;
    await until("the end of the command", async () => await sleepers() === 0, 10_000);
    assertEquals(await send(seat, "after kill", "--wait-reply"), "again\n");
    assertStringIncludes(newest(seat).history, "lion-88");
    assertEquals(seat.model.asked("after kill"), 1);
    await seat.terminal.untilShows(/again/);
    await seat.terminal.untilShows(/›\s+half typed line/);
    assertEquals(await pidOf(seat, "--remote"), tui);
    await statusIs(seat, "idle");
    await quit(seat);
  },
);

seat(
  "the app-server's port is taken by somebody else: another port, and the TUI is opened anew",
  async (seat) => {
    await send(seat, "remember ibis-99 [[say ok]]", "--wait-reply");
    const tui = await pidOf(seat, "--remote");
    const [line] = await describeProcesses([tui]);
    const port = Number(/--remote ws:\/\/127\.0\.0\.1:(\d+)/.exec(line!)![1]);
    Deno.kill(await pidOf(seat, "app-server"), "SIGKILL");
    let thief: Deno.Listener | null = null;
    await until("the port", () => {
      try {
        thief = Deno.listen({ hostname: "127.0.0.1", port });
      } catch { /* not free yet */ }
      return thief !== null;
    });
    try {
      assertEquals(await send(seat, "elsewhere [[say found]]", "--wait-reply"), "found\n");
      assertStringIncludes(newest(seat).history, "ibis-99");
      await seat.terminal.untilShows(/found/);
      assert(await pidOf(seat, "--remote") !== tui);
      await statusIs(seat, "idle");
    } finally {
      thief!.close();
    }
    await quit(seat);
  },
);

seat("SIGKILL of the TUI during a turn: it is opened again, and the turn goes on", async (seat) => {
  const slow = await post(seat, "steady [[slow 4000]] [[say steady answer]]");
  await untilStage(seat, slow, "seen");
  const [server, tui] = [await pidOf(seat, "app-server"), await pidOf(seat, "--remote")];
  Deno.kill(tui, "SIGKILL");
  await untilStage(seat, slow, "done");
  assertEquals(seat.model.asked("steady [[slow"), 1);
  await seat.terminal.untilShows(/steady answer/);
  assertEquals([await pidOf(seat, "app-server"), await pidOf(seat, "--remote") === tui], [server, false]);
  assertEquals(await send(seat, "next one [[say fine]]", "--wait-reply"), "fine\n");
  await statusIs(seat, "idle");
  await quit(seat);
});

seat(
  "SIGKILL of the runner: nothing is left, the terminal is put back, the message is not lost",
  async (seat) => {
    const { home, model } = seat;
    const held = Promise.withResolvers<null>();
    model.decide = (request) => request.text.includes("hold-on") ? held.promise : null;
    const message = await post(seat, "hold-on [[say at last]]");
    await model.untilAsked("hold-on");
    await untilStage(seat, message, "placed");
    const [server] = await describeProcesses([await pidOf(seat, "app-server")]);
    Deno.kill(Number(server!.trim().split(/\s+/)[1]), "SIGKILL");
    await gone(seat, 137);
    model.decide = null;
    held.resolve(null);
    const next = home.start(["codex", "--headless", "--label", "api"]);
    await home.untilReady("api");
    const stages = await untilStage(seat, message, "acked");
    assert(stages.includes("seen"), stages.join());
    next.kill("SIGTERM");
    assertEquals(await next.ended(), 0, next.err);
  },
);
