import { assert, assertEquals, assertMatch } from "@std/assert";
import { until, withTempDir } from "../support/temp.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";

Deno.test("demo prints every stage with evidence, the answer, and leaves nothing behind", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir, { TMPDIR: dir });
    const { code, out, err } = await home.run(["demo"]);
    assertEquals(code, 0, err);
    for (const stage of ["received", "handed", "placed", "seen", "done", "acked"]) {
      assertMatch(out, new RegExp(`^  ${stage} +\\+\\d+ ms  \\S`, "m"));
    }
    assertMatch(out, /answer {3}echo: Hello, agent/);
    assertEquals(await processesWith(`TMPDIR=${dir}`), []);
    assertEquals([...Deno.readDirSync(dir)].filter((entry) => entry.name.startsWith("runner-demo")), []);
  });
});

Deno.test("demo --json prints one object with the same facts", async () => {
  await withTempDir(async (dir) => {
    const { code, out } = await new TestHome(dir).run(["demo", "--json"]);
    assertEquals(code, 0);
    const result = JSON.parse(out) as {
      answer: string;
      stages: { stage: string; evidence: string }[];
      tookMs: number;
    };
    assertEquals(result.answer, "echo: Hello, agent. Are you there?");
    assert(result.stages.every((stage) => stage.evidence.length > 0));
  });
});

Deno.test("demo ends at once when it is interrupted, whatever it waits for, and leaves nothing behind", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir, { TMPDIR: dir });
    for (const seen of ["relay", "agent", "message"]) {
      const demo = home.start(["demo"]);
      await until(seen, () => demo.out.includes(`${seen} `) || demo.over);
      demo.kill("SIGINT");
      // It may have been done by then; a wait of 15 s for its agent it is not.
      const code = await demo.ended(10_000);
      assert(code === 130 || (code === 0 && demo.out.includes("done ")), `${code}: ${demo.out}${demo.err}`);
      assertEquals(await processesWith(`TMPDIR=${dir}`), []);
      assertEquals([...Deno.readDirSync(dir)].filter((entry) => entry.name.startsWith("runner-demo")), []);
    }
  });
});
