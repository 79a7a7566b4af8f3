import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lockInstance } from "../../lib/process/lock.ts";
import { childrenOf } from "../bench/_proc.ts";
import { RUN_ARGS, TestHome } from "../support/runner_process.ts";
import { refusing, ScriptedAgent } from "../support/scripted_agent.ts";
import { until, withTempDir } from "../support/temp.ts";

interface Report {
  removed: { kind: string; path: string; agentId?: string; bytes: number }[];
  kept: { agentId: string; reason: string }[];
  bytes: number;
  dryRun: boolean;
}

const LONG_AGO = new Date(Date.now() - 40 * 86_400_000);

/** Makes everything below a directory look as if nobody had touched it for long. */
function age(path: string): void {
  const info = Deno.lstatSync(path);
  if (info.isDirectory) { for (const { name } of Deno.readDirSync(path)) age(join(path, name)); }
  if (!info.isSymlink) Deno.utimeSync(path, LONG_AGO, LONG_AGO);
}

async function prune(home: TestHome, ...args: string[]): Promise<Report> {
  const { code, out, err } = await home.run(["prune", "--json", ...args]);
  assertEquals([code, err], [0, ""]);
  return JSON.parse(out) as Report;
}

async function withHome(work: (home: TestHome, dir: string) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    await work(home, dir);
  });
}

const kinds = ({ removed }: Report) => removed.map(({ kind, agentId }) => `${kind} ${agentId}`).sort();

Deno.test("prune keeps an agent that runs, however old its files are, and removes it after its end", async () => {
  await withHome(async (home) => {
    const echo = ["echo", "--headless", "--label", "api"];
    const runner = home.start(echo);
    const { id } = await home.untilReady("api") as { id: string };
    age(join(home.home, "state"));
    age(join(home.home, "logs"));
    assertEquals(await prune(home), {
      removed: [],
      kept: [{ agentId: id, reason: "it runs" }],
      bytes: 0,
      dryRun: false,
    });
    const answer = await home.run(["send", "label:api", "still there?", "--wait-reply"]);
    assertEquals([answer.code, answer.out.trim()], [0, "echo: still there?"], answer.err);
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0);

    const none = await home.run(["prune"]);
    assertEquals([none.code, none.err], [0, ""]);
    assertMatch(
      none.out,
      new RegExp(`^KEPT +WHY\\n${id} +it ran \\S+ (?:ms|s|min) ago\\n\\nnothing to remove\\n$`),
    );
    age(join(home.home, "state"));
    const wouldBe = await home.run(["prune", "--dry-run"]);
    assertMatch(
      wouldBe.out,
      /^WOULD REMOVE +AGENT +SIZE +PATH\nlog .*\nagent .*\n\nwould remove 2 things, [\d.]+ KiB\n$/,
    );
    const report = await prune(home);
    assertEquals(kinds(report), [`agent ${id}`, `log ${id}`], "what a run leaves is known by name");
    assert(
      report.bytes > 10_000 && report.bytes === report.removed.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    assertEquals([...Deno.readDirSync(join(home.home, "state"))], []);
    assertEquals([...Deno.readDirSync(join(home.home, "logs"))], []);
    for (const name of ["relay.db", "relay.token", "config.json", "providers"]) {
      assert(Deno.statSync(join(home.home, name)), name);
    }
    const again = home.start(echo);
    assertEquals((await home.untilReady("api")).id, id, "it begins anew as the same agent");
    again.kill("SIGTERM");
    assertEquals(await again.ended(), 0);
  });
});

Deno.test("prune keeps agents with a message that has not ended or a dead letter, until those are settled", async () => {
  await withHome(async (home) => {
    const relay = home.start(["relay", "--json"]);
    await until("the relay", () => relay.out.includes("\n"));
    const { url } = JSON.parse(relay.out) as { url: string };
    const token = Deno.readTextFileSync(join(home.home, "relay.token")).trim();
    const stateDir = join(home.home, "state");
    const place = (agentId: string) =>
      lockInstance({ stateDir, agentId: () => agentId, fixed: true, pid: 7 });
    const locks = [place("refuses"), place("hangs")];
    const refuses = new ScriptedAgent(url, locks[0]!.dir, { agentId: "refuses", script: refusing, token });
    const hangs = new ScriptedAgent(url, locks[1]!.dir, { agentId: "hangs", script: () => [], token });
    for (const agent of [refuses, hangs]) agent.start();
    try {
      for (const agent of [refuses, hangs]) {
        await until("the agent", () => agent.runner.view().bus === "up");
        await home.run(["send", agent.options.agentId, "work"]);
        await until("the delivery", () => agent.deliveries.length === 1);
      }
      await until("its end", () => refuses.journal.load().dead.length === 1);
    } finally {
      await refuses.stop();
      await hangs.crash();
      for (const lock of locks) lock.release();
    }
    age(stateDir);
    const expected = [
      { agentId: "hangs", reason: "1 message has not ended" },
      { agentId: "refuses", reason: "1 dead letter waits for a person's decision" },
    ];
    assertEquals((await prune(home)).kept, expected);
    assertEquals((await prune(home)).kept, expected, "nothing of it has changed");
    // What they come back for is still there.
    const known = new ScriptedAgent(url, join(stateDir, "hangs"), { agentId: "hangs", token }).start();
    await until("the message", () => known.deliveries.length === 1);
    await until("its end", () => known.journal.load().open.length === 0);
    await known.stop();
    age(stateDir);
    assertEquals(kinds(await prune(home)), ["agent hangs"]);
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("prune keeps a killed agent until what it started has ended", async () => {
  await withHome(async (home) => {
    const runner = home.start(["echo", "--headless", "--label", "api"]);
    const { id } = await home.untilReady("api") as { id: string };
    const guard = (await childrenOf(runner.pid)).find(({ args }) => args.includes("relay-guard"))!;
    Deno.kill(guard.pid, "SIGSTOP");
    await runner.kill9();
    Deno.kill(guard.pid, "SIGKILL");
    age(join(home.home, "state"));
    const { kept } = await prune(home);
    assertEquals(kept.map(({ agentId }) => agentId), [id]);
    assertMatch(kept[0]!.reason, /^it was killed/);
    await home.run(["doctor", "--fix"]);
    age(join(home.home, "state"));
    assertEquals(kinds(await prune(home)), [`agent ${id}`, `log ${id}`]);
  });
});

Deno.test("prune does the rest when something cannot be removed, and ends with 7", async () => {
  await withTempDir(async (dir) => {
    const stuck = join(dir, "home", "logs", "b.log");
    // Not even root writes there.
    const args = RUN_ARGS.toSpliced(-1, 0, `--deny-write=${stuck}`);
    await using home = new TestHome(dir, {}, { command: Deno.execPath(), args });
    const stateDir = join(home.home, "state");
    for (const id of ["a", "b", "c"]) {
      lockInstance({ stateDir, agentId: () => id, fixed: true, pid: 7 }).release();
    }
    Deno.mkdirSync(join(home.home, "logs"));
    for (const log of ["b.log", "c.log"]) Deno.writeTextFileSync(join(home.home, "logs", log), "x");
    age(stateDir);
    age(join(home.home, "logs"));
    const { code, out, err } = await home.run(["prune", "--json"]);
    assertEquals(code, 7, err);
    assertEquals(kinds(JSON.parse(out) as Report), ["agent a", "agent b", "agent c", "log c"]);
    const { error } = JSON.parse(err) as { error: Record<string, unknown> };
    assertEquals([error.code, error.exit, error.failed], ["E_STATE_WRITE", 7, 1], err);
    assertMatch(String(error.message), /^Cannot remove \S+\/logs\/b\.log: /);
    const { code: again, err: said } = await home.run(["prune"]);
    assertEquals(again, 7);
    assertMatch(said, /^runner: error\[E_STATE_WRITE\]: Cannot remove \S+ .*the rest was done\n$/);
  });
});
