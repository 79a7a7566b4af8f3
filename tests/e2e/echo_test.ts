import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { until, withTempDir } from "../support/temp.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";

Deno.test("send --wait-reply prints the agent's answer and the receipt shows the evidence", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runner = home.start(["echo", "--label", "api"]);
    await home.untilReady("api");
    const sent = await home.run(["send", "label:api", "one\ntwo", "--wait-reply"]);
    assertEquals([sent.code, sent.out], [0, "echo: one\ntwo\n"], sent.err);
    const receipt = await home.run(["receipt", "1", "--json"]);
    const { recipients } = JSON.parse(receipt.out) as {
      recipients: { read: boolean; reports: { stage: string; deliveryId?: string }[] }[];
    };
    assertEquals(recipients.length, 1);
    assertEquals(recipients[0]!.reports.map((report) => report.stage).slice(0, 4), [
      "received",
      "handed",
      "placed",
      "seen",
    ]);
    assert(
      recipients[0]!.reports.every((report) =>
        report.stage === "received" || report.deliveryId !== undefined
      ),
    );
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0);
    assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
    assertEquals([...Deno.readDirSync(join(home.home, "state"))].length, 1);
  });
});

Deno.test("send without recipient exits 1 with near misses, and --queue keeps the message for a late agent", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const first = home.start(["echo", "--label", "api"]);
    await home.untilReady("api");
    const miss = await home.run(["send", "label:apj", "hello"]);
    assertEquals(miss.code, 1);
    assertMatch(
      miss.err,
      /^runner: error\[E_NO_RECIPIENT\]: nobody is there for "label:apj"\. did you mean label:api/,
    );
    const queued = await home.run(["send", "label:late", "hello late", "--queue"]);
    assertEquals(queued.code, 0, queued.err);
    const late = home.start(["echo", "--label", "late"]);
    await home.untilReady("late");
    await until("the queued message to be read", async () => {
      const { out } = await home.run(["receipt", "1", "--json"]);
      const receipt = JSON.parse(out) as { recipients: { read: boolean }[] };
      return receipt.recipients.length === 1 && receipt.recipients[0]!.read;
    });
    for (const runner of [first, late]) {
      runner.kill("SIGTERM");
      assertEquals(await runner.ended(), 0);
    }
  });
});

Deno.test("another runner takes the relay over when its host is killed, and no accepted message is lost", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const host = home.start(["echo", "--label", "host"]);
    await home.untilReady("host");
    const other = home.start(["echo", "--label", "other"]);
    await home.untilReady("other");
    // Nobody is there for it: it has to survive the change of the relay in the database.
    assertEquals((await home.run(["send", "label:third", "kept", "--queue"])).code, 0);
    const killedAt = performance.now();
    host.kill("SIGKILL");
    await until("the other runner to serve", async () => (await home.run(["agents"])).code === 0);
    const tookMs = performance.now() - killedAt;
    assert(tookMs < 10_000, `the promise is 2 s and five times slack; it took ${tookMs} ms`);
    const answer = await home.run(["send", "label:other", "still here?", "--wait-reply"]);
    assertEquals(answer.out, "echo: still here?\n", answer.err);
    const third = home.start(["echo", "--label", "third"]);
    await home.untilReady("third");
    await until("the kept message to be read", async () => {
      const { out } = await home.run(["receipt", "1", "--json"]);
      return (JSON.parse(out) as { recipients: { read: boolean }[] }).recipients[0]?.read === true;
    });
    await host.ended();
    for (const runner of [other, third]) {
      runner.kill("SIGTERM");
      assertEquals(await runner.ended(), 0, runner.err);
    }
    assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
  });
});

Deno.test("a claimable message offered to two runners is done by exactly one", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runners = ["one", "two"].map((label) => home.start(["echo", "--label", label]));
    await home.untilReady("one");
    await home.untilReady("two");
    for (let i = 0; i < 10; i++) {
      const sent = await home.run(["send", "tag:echo", `work ${i}`, "--claimable", "--until", "done"]);
      assertEquals(sent.code, 0, sent.err);
    }
    for (const runner of runners) {
      runner.kill("SIGTERM");
      assertEquals(await runner.ended(), 0);
    }
    const done = runners.map((runner) =>
      runner.out.split("\n").filter((line) => line.startsWith("echo: work"))
    );
    assertEquals(done.flat().sort(), Array.from({ length: 10 }, (_, i) => `echo: work ${i}`).sort());
  });
});

Deno.test("restart and stop answer their command, and a second runner in the same place takes the next slot", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const first = home.start(["echo", "--label", "api"]);
    const card = await home.untilReady("api");
    const restarted = await home.run(["restart", "label:api"]);
    assertEquals([restarted.code, restarted.out], [0, `${card.id} is restarted\n`], restarted.err);
    const second = home.start(["echo", "--label", "api"]);
    await until(
      "the second agent",
      async () => (await home.agents()).filter((each) => each.ready).length === 2,
    );
    const ids = (await home.agents()).map((each) => each.id);
    assertEquals(ids, [card.id, `${card.id}-2`]);
    const fixed = await home.run(["echo", "--agent-id", String(card.id)]);
    assertEquals(fixed.code, 6);
    assertStringIncludes(fixed.err, `error[E_LOCKED]: agent ${card.id} is run by pid ${first.pid}`);
    const ambiguous = await home.run(["stop", "label:api"]);
    assertEquals(ambiguous.code, 2);
    assertStringIncludes(ambiguous.err, "E_TARGET");
    const stopped = await home.run(["stop", `${card.id}-2`]);
    assertEquals(stopped.code, 0, stopped.err);
    assertEquals(await second.ended(), 0);
    assertEquals((await home.agents()).map((each) => each.id), [card.id]);
    const hard = await home.run(["stop", "label:api", "--hard"]);
    assertEquals(hard.code, 0, hard.err);
    assertEquals(await first.ended(), 0);
    assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
  });
});

Deno.test("stop right behind restart waits its turn instead of failing", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runner = home.start(["echo", "--label", "api"]);
    await home.untilReady("api");
    assertEquals((await home.run(["restart", "label:api"])).code, 0);
    const late = await home.run(["stop", "label:api", "--timeout", "1s"]);
    assertEquals(late.code, 1, "a wait that is too short for its turn is refused at once");
    const stopped = await home.run(["stop", "label:api"]);
    assertEquals([stopped.code, stopped.err], [0, ""]);
    assertEquals(await runner.ended(), 0);
  });
});

Deno.test("runner relay asks an embedded relay to yield, serves alone and stops cleanly on SIGTERM", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runner = home.start(["echo", "--label", "api"]);
    await home.untilReady("api");
    const relay = home.start(["relay", "--json"]);
    await until("the relay's address", () => relay.out.includes("\n"));
    const { url, pid } = JSON.parse(relay.out) as { url: string; pid: number };
    assertEquals([url, pid], [`http://127.0.0.1:${home.port}`, relay.pid]);
    await home.untilReady("api");
    const health = await (await fetch(`${url}/api/health`)).json() as { embedded: boolean };
    assertEquals(health.embedded, false);
    const answer = await home.run(["send", "label:api", "after the hand-over", "--wait-reply"]);
    assertEquals(answer.out, "echo: after the hand-over\n", answer.err);
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0);
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});

Deno.test("SIGKILL of a runner leaves no process of it, and the next run delivers what was unread", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    const runner = home.start(["echo", "--label", "api"]);
    const card = await home.untilReady("api");
    const agents = () => processesWith(`AGENT_RELAY_ID=${card.id}`);
    assertNotEquals(await agents(), []);
    runner.kill("SIGKILL");
    await runner.ended();
    await until("no process of the agent", async () => (await agents()).length === 0);
    assertEquals((await home.run(["send", String(card.id), "while you were away"])).code, 0);
    const next = home.start(["echo", "--label", "api"]);
    await until("the message to be done", async () => {
      const { out } = await home.run(["receipt", "1", "--json"]);
      return (JSON.parse(out) as { recipients: { read: boolean }[] }).recipients[0]?.read === true;
    });
    for (const each of [next, relay]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0);
    }
  });
});

Deno.test("config shows each value with its source and masks secrets", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir, { AGENT_RELAY_TOKEN: "a-secret-token", AGENT_RELAY_LABEL: "lab" });
    home.provider("claude", {
      env: { API_KEY: "another-secret", MODE: "x", DB_URL: "postgres://u:pw-of-a-database@h/db" },
      defaultArgs: ["--registry", "https://pw-of-a-registry@h"],
      defaultApprovalMode: "read-only",
    });
    const { code, out, err } = await home.run(["config", "--json"]);
    assertEquals(code, 0, err);
    const { settings } = JSON.parse(out) as { settings: Record<string, { value: unknown; source: string }> };
    assertEquals([settings.label!.value, settings.label!.source], ["lab", "environment"]);
    assertEquals([settings.approval!.value, settings.approval!.source], ["read-only", "file"]);
    assertEquals(settings["claude.command"]!.source, "default");
    assertEquals(Object.keys(settings).filter((key) => /tmux|shutdown/.test(key)), [
      "claude.headless.tmuxPrefix",
      "claude.headless.shutdownTimeoutMs",
    ]);
    const text = (await home.run(["config"])).out;
    for (const shown of [out, text]) {
      assertEquals(/a-secret-token|another-secret|pw-of/.test(shown), false);
      assertStringIncludes(shown, "********");
    }
  });
});

Deno.test("a signal at any time of the start ends the run in order, with no process left and the lock free", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    let drained = 0;
    for (let afterMs = 60; afterMs <= 600; afterMs += 60) {
      const runner = home.start(["echo", "--label", "api"]);
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      runner.kill("SIGTERM");
      const code = await runner.ended(30_000);
      // Before the handlers are there, the signal's default ends a process that has started nothing yet.
      assert(code === 0 || code === 143, `after ${afterMs} ms: ${code} ${runner.err}`);
      if (code === 0) drained++;
      assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), [], `after ${afterMs} ms`);
    }
    assert(drained >= 3, `${drained} runs had begun`);
    const again = home.start(["echo", "--label", "api"]);
    await home.untilReady("api");
    again.kill("SIGTERM");
    assertEquals(await again.ended(), 0);
    assertEquals((await home.agents()).length, 0);
  });
});

Deno.test("an agent that could not go on is offline with the reason, for whoever asks later", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"]);
    await until("the relay", () => relay.out.includes("\n"));
    const broken = `${dir}/claude`;
    Deno.writeTextFileSync(broken, "#!/bin/sh\nexit 2\n", { mode: 0o755 });
    home.provider("claude", { command: broken });
    const { code, err } = await home.run(["claude", "--headless", "--label", "api"]);
    assertEquals(code, 5, err);
    const why = "the provider cannot be started (exit code 2)";
    assertStringIncludes(err, why);
    const [agent] = await home.agents();
    const { reason } = agent!.meta as { reason: string };
    assertEquals([agent!.status, agent!.ready, reason], ["offline", false, `ended: ${why}`]);
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});
