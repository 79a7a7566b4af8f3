import { assertEquals, assertStringIncludes } from "@std/assert";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** More than a pipe holds. */
const LONG = "x".repeat(200_000);

Deno.test("an agent whose output nobody reads works on, serves its relay, and ends in time", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    // Both outputs are pipes that are never read.
    const runner = home.command(["echo", "--headless", "--label", "api"]).spawn();
    try {
      await home.untilReady("api");
      for (let i = 0; i < 3; i++) {
        const sent = await home.run(["send", "label:api", "-", "--wait-reply", "--timeout", "20s"], {
          stdin: LONG,
        });
        assertEquals([sent.code, sent.out.length], [0, LONG.length + "echo: \n".length], sent.err);
      }
      assertEquals((await home.run(["stop", "label:api"])).code, 0);
      const { code } = await runner.status;
      assertEquals(code, 0);
    } finally {
      try {
        runner.kill("SIGKILL");
      } catch { /* it ended */ }
      await runner.status;
      await Promise.all([runner.stdout.cancel(), runner.stderr.cancel()]);
    }
  });
});

Deno.test("an agent that serves goes on when its output cannot be written, and says so once", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runner = home.start(["echo", "--headless", "--label", "api"], {
      below: ["/bin/sh", "-c", 'exec "$@" > /dev/full', "sh"],
    });
    await home.untilReady("api");
    for (const text of ["one", "two"]) {
      const sent = await home.run(["send", "label:api", text, "--wait-reply", "--timeout", "20s"]);
      assertEquals([sent.code, sent.out], [0, `echo: ${text}\n`], sent.err);
    }
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
    assertEquals(runner.err.split("a part of standard output is lost: No space left").length, 2, runner.err);
  });
});

Deno.test("a job's lines all reach a reader that begins late, the result last", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    Deno.writeTextFileSync(`${dir}/prompt`, LONG);
    const job = home.command([
      "echo",
      "--headless",
      "--once",
      "--no-relay",
      "--prompt-file",
      "../prompt",
      "--output",
      "jsonl",
      "--result",
      "../result.json",
    ]).spawn();
    // The work is done although nobody has read a line of it yet.
    await until("the result", () => Deno.stat(`${dir}/result.json`).then(() => true, () => false));
    const { code, stdout, stderr } = await job.output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const lines = new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) =>
      JSON.parse(line) as { type: string; text?: string }
    );
    assertEquals(lines.at(-1)!.type, "result");
    const said = lines.filter(({ type }) => type === "output").map(({ text }) => text).join("");
    assertStringIncludes(said, LONG);
  });
});

Deno.test("a relay by itself serves on when neither of its outputs can be written", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"], {
      below: ["/bin/sh", "-c", 'exec "$@" > /dev/full 2> /dev/full', "sh"],
    });
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    assertEquals((await home.run(["send", "label:api", "hello", "--wait-reply"])).out, "echo: hello\n");
    agent.kill("SIGTERM");
    assertEquals(await agent.ended(), 0, agent.err);
    relay.kill("SIGTERM");
    assertEquals(await relay.ended(), 0);
  });
});
