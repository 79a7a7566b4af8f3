import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { command, conversationOf, seat } from "../support/claude_seat.ts";
import { runJob } from "../support/job.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { gone, type Seat, send, withSeat } from "../support/seat.ts";
import { until } from "../support/temp.ts";

const NOBODYS = "00000000-0000-4000-8000-000000000000";

/** Claude makes worktrees with it. */
const HAS_GIT = await new Deno.Command("git", { args: ["--version"], stdout: "null" }).output().then(
  ({ success }) => success,
  () => false,
);

for (const provider of ["claude", "codex"] as const) {
  const job = (agent: RealAgent, ...flags: string[]) =>
    runJob(agent.home, [provider, "--once", "--no-relay", ...flags]);
  const history = ({ model }: RealAgent, marker: string) =>
    model.requests.findLast(({ text }) => text.includes(marker))!.history;

  Deno.test(`${provider}: a job goes on with the conversation that it is given, by id and as the last one`, async () => {
    await withRealAgent(provider, async (agent) => {
      const first = await job(agent, "--prompt", "remember zebra-77 [[say yes]]");
      const { conversation } = first.result;
      assert(conversation !== null, first.err);
      const second = await job(agent, "--prompt", "job-two [[say yes]]", "--conversation", conversation);
      assertEquals([second.code, second.result.conversation], [0, conversation], second.err);
      assertStringIncludes(history(agent, "job-two"), "zebra-77");
      const third = await job(agent, "--prompt", "job-three [[say yes]]", "--conversation", "last");
      assertEquals([third.code, third.result.conversation], [0, conversation], third.err);
      assertStringIncludes(history(agent, "job-three"), "job-two");
      const fourth = await job(agent, "--prompt", "job-four [[say yes]]");
      assertEquals(fourth.code, 0, fourth.err);
      assertEquals(history(agent, "job-four").includes("zebra-77"), false);
    });
  });

  Deno.test(`${provider}: a conversation that is not there ends the job at once, before the model is asked`, async () => {
    await withRealAgent(provider, async (agent) => {
      const { code, err, result } = await job(agent, "--prompt", "hello", "--conversation", NOBODYS);
      assertEquals([code, result.error?.code], [5, "E_PROVIDER_CMD"], err);
      assertMatch(err, new RegExp(`error\\[E_PROVIDER_CMD\\]: ${provider} has no conversation "${NOBODYS}"`));
      assertEquals(agent.model.requests.length, 0);
      // What the agent had before is not forgotten for it.
      const before = await job(agent, "--prompt", "remember lion-88 [[say yes]]");
      assertEquals((await job(agent, "--prompt", "hello", "--conversation", NOBODYS)).code, 5);
      const last = await job(agent, "--prompt", "what was it [[say yes]]", "--conversation", "last");
      assertEquals(last.result.conversation, before.result.conversation);
    });
  });
}

/** The person's agent is started anew by somebody on the bus. */
async function restart({ home }: Seat): Promise<void> {
  const { code, err } = await home.run(["restart", "label:api"]);
  assertEquals(code, 0, err);
}

async function stop(seat: Seat): Promise<void> {
  assertEquals((await seat.home.run(["stop", "label:api"])).code, 0);
  await gone(seat, 0);
}

seat("a prompt after -- is done once, however often the agent is started", async (seat) => {
  await seat.model.untilAsked("do-it");
  await seat.home.untilReady("api");
  await send(seat, "ping [[say pong]]", "--wait-reply");
  await restart(seat);
  await send(seat, "again [[say pong]]", "--wait-reply");
  assertEquals(seat.model.asked("do-it"), 1);
  assertStringIncludes(seat.model.requests.at(-1)!.history, "do-it");
  await stop(seat);
}, ["--", "do-it [[say done]]"]);

seat("a conversation that was chosen after -- is gone on with after a restart", async (seat) => {
  await seat.home.untilReady("api");
  assertEquals(conversationOf(seat), NOBODYS);
  await send(seat, "remember zebra-77 [[say yes]]", "--wait-reply");
  await restart(seat);
  await send(seat, "what was it [[say yes]]", "--wait-reply");
  assertEquals(conversationOf(seat), NOBODYS);
  assertStringIncludes(seat.model.requests.at(-1)!.history, "zebra-77");
  // The person turns to another one, which counts from then on.
  await command(seat, "/clear");
  await until("another conversation", () => ![null, NOBODYS].includes(conversationOf(seat)));
  await send(seat, "after-clear [[say yes]]", "--wait-reply");
  const cleared = conversationOf(seat);
  await restart(seat);
  await send(seat, "after-restart [[say yes]]", "--wait-reply");
  assertEquals(conversationOf(seat), cleared);
  await stop(seat);
}, ["--", "--session-id", NOBODYS]);

Deno.test({
  name: `claude in the terminal: a restart stays in the worktree, and makes no other one${
    HAS_GIT ? "" : " (SKIPPED: git is not here)"
  }`,
  ignore: !HAS_GIT,
  fn: () =>
    withSeat("claude", ["--", "--worktree"], async (seat) => {
      const { id } = await seat.home.untilReady("api");
      await send(seat, "remember zebra-77 [[say yes]]", "--wait-reply");
      await restart(seat);
      await send(seat, "what was it [[say yes]]", "--wait-reply");
      assertStringIncludes(seat.model.requests.at(-1)!.history, "zebra-77");
      const trees = [...Deno.readDirSync(`${seat.home.cwd}/.claude/worktrees`)].map(({ name }) => name);
      assertEquals(trees, [id]);
      await stop(seat);
    }, {
      // Claude looks for git on PATH.
      env: { PATH: Deno.env.get("PATH")! },
      prepare: ({ home }) => {
        const commit = "git init -q && git -c user.name=n -c user.email=n@n commit -q --allow-empty -m first";
        new Deno.Command("sh", { args: ["-c", commit], cwd: home.cwd }).outputSync();
      },
    }),
});

Deno.test("codex: a conversation of an earlier run is gone on with by codex's own words, in a terminal and without", async () => {
  await withSeat("codex", ["--", "resume", NOBODYS], async (seat) => {
    await gone(seat, 5);
    assertStringIncludes(await seat.terminal.capture(), `codex has no conversation "${NOBODYS}"`);
    const first = await runJob(seat.home, [
      "codex",
      "--once",
      "--no-relay",
      "--prompt",
      "remember zebra-77 [[say yes]]",
    ]);
    const conversation = first.result.conversation!;
    const { home, model } = seat;
    const serving = home.start(["codex", "--headless", "--label", "api", "--", "resume", conversation]);
    await home.untilReady("api");
    await send(seat, "what was it [[say yes]]", "--wait-reply");
    assertStringIncludes(model.requests.at(-1)!.history, "zebra-77");
    await restart(seat);
    await send(seat, "and after [[say yes]]", "--wait-reply");
    assertStringIncludes(model.requests.at(-1)!.history, "zebra-77");
    serving.kill("SIGTERM");
    assertEquals(await serving.ended(), 0);
  });
});
