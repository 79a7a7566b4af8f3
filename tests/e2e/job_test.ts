import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { drains, endOfJob, filesBelow, readResult, runJob, startJob } from "../support/job.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";
import { freePort, until, withTempDir } from "../support/temp.ts";

async function withHome(work: (home: TestHome, dir: string) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    await work(home, dir);
  });
}

Deno.test("exit 0: a job does its prompt without any relay, ends by itself and leaves only the documented files", async () => {
  await withHome(async (home) => {
    const { code, out, err, result } = await runJob(home, ["echo", "--once", "--prompt", "hello"]);
    assertEquals([code, out, err], [0, "echo: hello\n", ""]);
    const { startedAt, durationMs, agentId, runnerId, provider, ...rest } = result;
    assertEquals(rest, {
      version: 1,
      outcome: "succeeded",
      exitCode: 0,
      signal: null,
      error: null,
      relayUrl: null,
      conversation: null,
      turns: 1,
      costUsd: null,
      messages: { done: 1, failed: 0, dead: 0, open: 0 },
      text: "echo: hello",
      runnerVersion: rest.runnerVersion,
    });
    const described = await Deno.readTextFile(new URL("../../docs/ci.md", import.meta.url));
    for (const field of Object.keys(result)) assertStringIncludes(described, `\`${field}\``);
    assert(Date.parse(startedAt) > 0 && durationMs > 0 && runnerId !== null);
    assertEquals(provider.name, "echo");
    assertEquals(
      filesBelow(home.home),
      [
        "config.json",
        `logs/${agentId}.log`,
        `state/${agentId}/echo.log`,
        `state/${agentId}/journal.db`,
        `state/${agentId}/lock`,
      ],
    );
    // The port of the embedded relay was never touched.
    Deno.listen({ hostname: "127.0.0.1", port: home.port }).close();
  });
});

Deno.test("the prompt comes from the command line, a file or standard input, 200 KB of it too", async () => {
  await withHome(async (home, dir) => {
    const long = "lorem ipsum ".repeat(17_000);
    assert(long.length > 200_000);
    const file = join(dir, "task.md");
    await Deno.writeTextFile(file, long);
    const fromFile = await runJob(home, ["echo", "--once", "--prompt-file", file]);
    assertEquals([fromFile.code, fromFile.result.text], [0, `echo: ${long}`], fromFile.err);
    const fromStdin = await runJob(home, ["echo", "--once", "--prompt", "-"], { stdin: long });
    assertEquals([fromStdin.code, fromStdin.result.text], [0, `echo: ${long}`], fromStdin.err);
    const dashed = await runJob(home, ["echo", "--once", "--prompt", "--max-turns"]);
    assertEquals([dashed.code, dashed.out], [0, "echo: --max-turns\n"]);
  });
});

Deno.test("exit 1: a failed turn is a failed job, whatever the agent's own exit code says", async () => {
  await withHome(async (home) => {
    for (
      const [fail, text] of [["seen", "seen"], ["message", "message"], ["provider", "provider"]] as const
    ) {
      const { code, err, result } = await runJob(home, [
        "echo",
        "--once",
        "--prompt",
        "x",
        "--",
        "--fail",
        fail,
      ]);
      assertEquals([code, result.outcome, result.exitCode], [1, "failed", 1], err);
      assertEquals(result.error, {
        code: "E_TURN_FAILED",
        message: `echo was told to fail (${text})`,
        hint: null,
      });
      assertStringIncludes(err, `runner: error[E_TURN_FAILED]: echo was told to fail (${text})`);
    }
  });
});

Deno.test("exit 1: an agent that dies in the middle of its answer has failed, and its message is not given to the next one", async () => {
  await withHome(async (home) => {
    // The turn had been seen, so its message is not given to the next process again.
    const { code, result } = await runJob(home, ["echo", "--once", "--prompt", "x", "--", "--exit", "3"]);
    assertEquals([code, result.outcome, result.error?.code], [1, "failed", "E_TURN_FAILED"]);
    assertEquals(result.messages, { done: 0, failed: 1, dead: 0, open: 0 });
  });
});

Deno.test("exit 2: what contradicts itself is refused, and the result says so too", async () => {
  await withHome(async (home, dir) => {
    const cases: [string[], RegExp][] = [
      [
        ["codex", "--once", "--prompt", "x", "--max-cost", "1"],
        /E_FLAG\]: --max-cost cannot be enforced: codex/,
      ],
      [["echo", "--no-relay"], /E_FLAG\]: --no-relay needs a prompt/],
      [["claude", "--max-time", "5m"], /E_FLAG\]: --max-time is for runs without a terminal.*add --headless/],
      [
        ["echo", "--once", "--prompt", "x", "--prompt-file", "y"],
        /E_FLAG\]: --prompt and --prompt-file exclude/,
      ],
      [
        ["echo", "--once", "--prompt-file", "nowhere.md"],
        /E_PROMPT\]: prompt file "nowhere.md" does not exist/,
      ],
      [["echo", "--once", "--prompt-file", dir], /E_PROMPT\]: prompt file .* is not a regular file/],
      [["echo", "--once", "--prompt", "-"], /E_PROMPT\]: empty prompt \(--prompt -\)/],
      [["echo", "--no-relay", "--prompt", "x", "--relay-url", "http://127.0.0.1:1"], /exclude each other/],
    ];
    for (const [args, says] of cases) {
      const { code, err, result } = await runJob(home, args);
      assertEquals(code, 2, err);
      assertMatch(err, says);
      assertEquals([result.outcome, result.exitCode, result.agentId], ["error", 2, null]);
    }
    const amount = await home.run(["claude", "--once", "--prompt", "x", "--max-cost", "much"]);
    assertEquals(amount.code, 2);
    assertMatch(amount.err, /E_FLAG_VALUE\]: --max-cost: "much" is no amount/);
    const nowhere = await home.run(["echo", "--once", "--prompt", "x", "--result", "no/such/dir.json"]);
    assertEquals(nowhere.code, 2);
    assertMatch(nowhere.err, /E_FLAG_VALUE\]: result file .* directory that does not exist/);
    const link = join(dir, "link");
    await Deno.symlink("/dev/null", link);
    for (const taken of [dir, link]) {
      const refused = await home.run(["echo", "--once", "--prompt", "x", "--result", taken]);
      assertEquals([refused.code, refused.out], [2, ""]);
      assertMatch(refused.err, /E_FLAG_VALUE\]: result file .* is no regular file/);
    }
    assert((await Deno.lstat(link)).isSymlink);
    const nul = await runJob(home, ["echo", "--once", "--prompt", "-"], { stdin: "a\0b" });
    assertMatch(nul.err, /E_PROMPT\]: prompt has a NUL byte at offset 1/);
  });
});

Deno.test("exit 3: a broken configuration ends a job before anything is started", async () => {
  await withHome(async (home) => {
    Deno.writeTextFileSync(join(home.home, "providers", "echo.json"), "{", { mode: 0o600 });
    const { code, result } = await runJob(home, ["echo", "--once", "--prompt", "x"]);
    assertEquals([code, result.outcome, result.error?.code], [3, "error", "E_CONFIG"]);
  });
});

Deno.test("exit 4 and 75: a relay that refuses the token, and one that is not there", async () => {
  await withHome(async (home, dir) => {
    const relay = home.start(["relay", "--port", "0", "--json"]);
    await until("the relay's address", () => relay.out.includes("\n"));
    const { url } = JSON.parse(relay.out) as { url: string };
    const token = join(dir, "token");
    await Deno.writeTextFile(token, "not-the-token-of-this-relay\n", { mode: 0o600 });
    for (const more of [[], ["--prompt", "x", "--connect-timeout", "20s"]]) {
      const refused = await runJob(home, [
        "echo",
        "--once",
        "--relay-url",
        url,
        "--token-file",
        token,
        ...more,
      ]);
      assertEquals([refused.code, refused.result.error?.code], [4, "E_RELAY_AUTH"], refused.err);
      assertEquals(refused.out, "", "no work before the relay is reached");
    }
    relay.kill("SIGTERM");
    await relay.ended();
    const down = `http://127.0.0.1:${freePort()}`;
    const waited = await runJob(home, [
      "echo",
      "--once",
      "--prompt",
      "x",
      "--relay-url",
      down,
      "--connect-timeout",
      "1s",
    ]);
    assertEquals([waited.code, waited.result.error?.code, waited.out], [75, "E_RELAY_UNREACHABLE", ""]);
    const without = await runJob(home, ["echo", "--once", "--prompt", "x", "--relay-url", down]);
    assertEquals(
      [without.code, without.out],
      [0, "echo: x\n"],
      "a job with a prompt does not need its relay",
    );
  });
});

Deno.test("exit 5: an agent that is missing, and one that ends with a usage error", async () => {
  await withHome(async (home) => {
    home.provider("claude", { command: "/nowhere/claude" });
    const missing = await runJob(home, ["claude", "--once", "--prompt", "x"]);
    assertEquals([missing.code, missing.result.error?.code], [5, "E_PROVIDER_CMD"]);
    const usage = await runJob(home, ["echo", "--once", "--prompt", "x", "--", "--no-such-option"]);
    assertEquals([usage.code, usage.result.error?.code, usage.result.provider.exitCode], [
      5,
      "E_PROVIDER_CMD",
      2,
    ]);
  });
});

Deno.test("exit 6: the agent id of a job is held by another runner", async () => {
  await withHome(async (home) => {
    const holder = home.start(["echo", "--agent-id", "worker", "--label", "w"]);
    await home.untilReady("w");
    const job = startJob(home, ["echo", "--once", "--prompt", "x", "--agent-id", "worker"]);
    assertEquals(await job.ended(), 6, job.err);
    assertEquals(readResult(home).error?.code, "E_LOCKED");
    holder.kill("SIGTERM");
    assertEquals(await holder.ended(), 0);
  });
});

Deno.test("exit 7: a journal written by a newer program is refused and left alone", async () => {
  await withHome(async (home) => {
    const first = await runJob(home, ["echo", "--once", "--prompt", "x"]);
    const path = join(home.home, "state", first.result.agentId!, "journal.db");
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 9999");
    db.close();
    const { code, result } = await runJob(home, ["echo", "--once", "--prompt", "x"]);
    assertEquals([code, result.error?.code], [7, "E_STATE"]);
  });
});

Deno.test("exit 8: time, turns and cost are limits of a job", async () => {
  await withHome(async (home) => {
    const limits: [string[], string[], string][] = [
      [["--max-time", "1s"], ["--slow", "1h"], "the time limit of 1s is reached"],
      [["--max-turns", "2"], ["--turns", "3", "--slow", "1h"], "the limit of 2 turns is reached"],
    ];
    for (const [flags, agent, message] of limits) {
      const { code, err, result } = await runJob(home, [
        "echo",
        "--once",
        "--prompt",
        "x",
        ...flags,
        "--",
        ...agent,
      ]);
      assertEquals([code, result.outcome, result.error?.message], [8, "limit", message], err);
    }
    // An agent that serves ends after the message that used up its budget.
    const served = startJob(home, ["echo", "--label", "api", "--max-cost", "0.25", "--", "--cost", "0.25"]);
    await home.untilReady("api");
    assertEquals((await home.run(["send", "label:api", "one", "--wait-reply"])).out, "echo: one\n");
    const job = await endOfJob(home, served);
    assertEquals([job.code, job.result.costUsd, job.result.messages.done], [8, 0.25, 1], job.err);
  });
});

Deno.test("exit 70: an error nobody expects ends the run in order and is never told as success", async () => {
  await withHome(async (home) => {
    for (const form of ["text", "jsonl"]) {
      // What the agent says can be written nowhere.
      const { code, err } = await home.run(
        ["echo", "--once", "--prompt", "x", "--output", form, "--result", "../result.json"],
        { below: ["/bin/sh", "-c", 'exec "$@" > /dev/full', "sh"] },
      );
      const result = readResult(home);
      assertEquals([code, result.outcome, result.exitCode], [70, "error", 70], err);
      assertStringIncludes(err, "runner: error[E_INTERNAL]: ");
      assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
      assertEquals(await processesWith(`AGENT_RELAY_CONTROL_FILE=${home.home}`), []);
    }
  });
});

Deno.test("exit 128+n: a signal that ended unfinished work says so, drained or not", async () => {
  await withHome(async (home) => {
    const running = async (label: string, ...args: string[]) => {
      const job = startJob(home, ["echo", "--once", "--label", label, ...args]);
      await until("the turn", () => job.out.includes('"stage":"seen"'));
      return job;
    };
    const slow = ["--prompt", "x", "--output", "jsonl", "--drain-timeout", "200ms", "--", "--slow", "1h"];
    for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      const job = await running("a", ...slow);
      job.kill(signal);
      const { code, result } = await endOfJob(home, job);
      assertEquals([code, result.outcome, result.exitCode, result.signal], [
        expected,
        "cancelled",
        expected,
        signal,
      ]);
    }
    const hard = await running(
      "a",
      "--prompt",
      "x",
      "--output",
      "jsonl",
      "--drain-timeout",
      "1h",
      "--",
      "--slow",
      "1h",
    );
    const before = drains(home);
    hard.kill("SIGINT");
    await until("the drain", () => drains(home) > before);
    hard.kill("SIGTERM");
    const ended = await endOfJob(home, hard, 15_000);
    assertEquals(
      [ended.code, ended.result.signal],
      [143, "SIGINT"],
      "the signal that ended it, and the one that asked",
    );
    // A turn that ends within the drain is done work.
    const quick = await running("a", "--prompt", "x", "--output", "jsonl", "--", "--slow", "500ms");
    quick.kill("SIGTERM");
    const done = await endOfJob(home, quick);
    assertEquals([done.code, done.result.outcome, done.result.text], [0, "succeeded", "echo: x"]);
    const waiting = startJob(home, ["echo", "--once", "--label", "b"]);
    await home.untilReady("b");
    waiting.kill("SIGTERM");
    const idle = await endOfJob(home, waiting);
    assertEquals(
      [idle.code, idle.result.outcome],
      [143, "cancelled"],
      "a job that found no work has done none",
    );
  });
});

Deno.test("signals at any time of a job's start end it with the signal's code, and no process is left", async () => {
  await withHome(async (home) => {
    let begun = 0;
    // A busy machine needs longer to get to a run that has begun.
    for (
      let afterMs = 60;
      afterMs <= 480 || (begun === 0 && afterMs < 10_000);
      afterMs += afterMs < 480 ? 60 : 500
    ) {
      const job = home.start(["echo", "--once", "--prompt", "x", "--output", "jsonl", "--", "--slow", "1h"]);
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      job.kill("SIGINT");
      job.kill("SIGTERM");
      const code = await job.ended(10_000);
      // Both may arrive before the first of them is looked at, in either order.
      assert(code === 130 || code === 143, `after ${afterMs} ms: ${code} ${job.err}`);
      if (job.out.includes('"type":"result"')) begun++;
      assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), [], `after ${afterMs} ms`);
    }
    assert(begun >= 1, `${begun} runs had begun`);
  });
});

Deno.test("with --connect-timeout and no relay configured, a job serves the one of this machine and reaches it", async () => {
  await withHome(async (home) => {
    const job = ["echo", "--once", "--prompt", "x", "--connect-timeout", "20s"];
    const { code, out, result } = await runJob(home, job);
    assertEquals([code, out, result.relayUrl], [0, "echo: x\n", `http://127.0.0.1:${home.port}`]);
    // Whoever configured a relay can still do without: nothing listens there any more.
    const none = await runJob(home, ["echo", "--once", "--prompt", "x", "--no-relay"], {
      env: { AGENT_RELAY_URL: `http://127.0.0.1:${home.port}` },
    });
    assertEquals([none.code, none.result.relayUrl], [0, null], none.err);
  });
});

Deno.test("a job without a prompt does one message of the bus and leaves the others unread", async () => {
  await withHome(async (home) => {
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    for (const text of ["first", "second"]) {
      assertEquals((await home.run(["send", "tag:echo", text, "--claimable", "--queue"])).code, 0);
    }
    for (const text of ["first", "second"]) {
      const { code, out, err } = await runJob(home, ["echo", "--once", "--output", "text"]);
      assertEquals([code, out], [0, `echo: ${text}\n`], err);
    }
    assertEquals((await home.agents()).length, 0, "a finished job is gone from the bus");
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("a job that serves the relay itself has told the sender everything before both of them go", async () => {
  await withHome(async (home) => {
    const job = startJob(home, ["echo", "--once", "--label", "api"]);
    await home.untilReady("api");
    const sent = await home.run(["send", "label:api", "hello", "--wait-reply"]);
    assertEquals([sent.code, sent.out], [0, "echo: hello\n"], sent.err);
    const { code, result } = await endOfJob(home, job);
    assertEquals([code, result.messages], [0, { done: 1, failed: 0, dead: 0, open: 0 }]);
  });
});

Deno.test("a message in flight when a job is cancelled stays unread, and the next job does it", async () => {
  await withHome(async (home) => {
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    assertEquals((await home.run(["send", "tag:echo", "work", "--claimable", "--queue"])).code, 0);
    const job = startJob(home, [
      "echo",
      "--once",
      "--output",
      "jsonl",
      "--drain-timeout",
      "100ms",
      "--",
      "--slow",
      "1h",
    ]);
    await until("the turn", () => job.out.includes('"stage":"seen"'));
    job.kill("SIGINT");
    const { code, result } = await endOfJob(home, job);
    assertEquals([code, result.outcome, result.messages], [130, "cancelled", {
      done: 0,
      failed: 0,
      dead: 0,
      open: 1,
    }]);
    const receipt = JSON.parse((await home.run(["receipt", "1", "--json"])).out) as {
      recipients: { read: boolean }[];
    };
    assert(receipt.recipients.every(({ read }) => !read));
    const next = await runJob(home, ["echo", "--once"]);
    assertEquals([next.code, next.out], [0, "echo: work\n"], next.err);
    relay.kill("SIGTERM");
    await relay.ended();
  });
});

Deno.test("--exit-on-idle serves what comes and ends 0, or 1 when something of it failed", async () => {
  await withHome(async (home) => {
    for (
      const [options, code, outcome] of [[[], 0, "succeeded"], [["--fail", "message"], 1, "failed"]] as const
    ) {
      const job = startJob(home, ["echo", "--label", "api", "--exit-on-idle", "8s", "--", ...options]);
      await home.untilReady("api");
      assertEquals((await home.run(["send", "label:api", "one"])).code, 0);
      const ended = await endOfJob(home, job);
      assertEquals([ended.code, ended.result.outcome], [code, outcome], ended.err);
    }
  });
});

Deno.test("--output jsonl is one JSON object a line, from the start to the result", async () => {
  await withHome(async (home) => {
    const { code, out, result } = await runJob(home, [
      "echo",
      "--once",
      "--prompt",
      "a\nb",
      "--output",
      "jsonl",
    ]);
    assertEquals(code, 0);
    const lines = out.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    assertEquals(
      lines.map((line) => line.type === "stage" ? line.stage : line.type),
      ["start", "received", "handed", "placed", "seen", "output", "turn", "done", "result"],
    );
    assertEquals(lines.find((line) => line.type === "output")?.text, "echo: a\nb\n");
    const { type: _type, ...last } = lines.at(-1)!;
    assertEquals(last, JSON.parse(JSON.stringify(result)));
  });
});

Deno.test("a result of an earlier run does not pass for the one of a run that was killed", async () => {
  await withHome(async (home, dir) => {
    await runJob(home, ["echo", "--once", "--prompt", "x"]);
    const job = startJob(home, [
      "echo",
      "--once",
      "--prompt",
      "x",
      "--output",
      "jsonl",
      "--",
      "--slow",
      "1h",
    ]);
    await until("the turn", () => job.out.includes('"stage":"seen"'));
    job.kill("SIGKILL");
    await job.ended();
    assertEquals([...Deno.readDirSync(dir)].some((entry) => entry.name === "result.json"), false);
    const next = await runJob(home, ["echo", "--once", "--prompt", "y"]);
    assertEquals([next.code, next.out], [0, "echo: y\n"], "the prompt of the killed run is not done again");
  });
});

Deno.test("a command line that is not understood leaves no result of an earlier run", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const file = join(home.cwd, "r.json");
    for (const given of [["--result", "r.json"], [`--result=${file}`]]) {
      const first = await home.run(["echo", "--once", "--no-relay", "--prompt", "ok", ...given]);
      assertEquals(first.code, 0, first.err);
      assertEquals(JSON.parse(Deno.readTextFileSync(file)).outcome, "succeeded");
      const second = await home.run(["echo", "--once", ...given, "--prompt", "hi", "--bogus"]);
      assertEquals(second.code, 2);
      assertEquals([...Deno.readDirSync(home.cwd)], []);
    }
    // What a run would not replace is not removed either.
    Deno.mkdirSync(file);
    assertEquals((await home.run(["echo", "--result", "r.json", "--bogus"])).code, 2);
    assertEquals(Deno.statSync(file).isDirectory, true);
    Deno.removeSync(file);
  });
});

Deno.test("only what would have been the result's place is removed: no word of a prompt, of the agent or of another verb", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const cases: [args: string[], removed: string[]][] = [
      [["ehco", "--result", "r.json"], ["r.json"]],
      [["echo", "--bogus", "--label", "--result", "r.json"], ["r.json"]],
      [["echo", "--bogus", "--prompt", "--result=r.json"], []],
      [["echo", "--bogus", "--", "--result", "r.json"], []],
      [["agents", "--result", "r.json"], []],
      [["echo", "--bogus", "--result", "link"], []],
      [["echo", "--bogus", "--result", "gone"], []],
    ];
    Deno.symlinkSync("r.json", join(home.cwd, "link"));
    const names = () => [...Deno.readDirSync(home.cwd)].map(({ name }) => name).toSorted();
    for (const [args, removed] of cases) {
      Deno.writeTextFileSync(join(home.cwd, "r.json"), '{"outcome":"succeeded"}');
      const before = names();
      assertEquals((await home.run(args)).code, 2, args.join(" "));
      assertEquals(before.filter((name) => !names().includes(name)), removed, args.join(" "));
    }
  });
});
