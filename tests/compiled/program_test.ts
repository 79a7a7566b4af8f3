import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { VERSION } from "../../lib/base/version.ts";
import { checkBadInput } from "../support/bad_input_check.ts";
import { BAD_INPUTS } from "../support/bad_inputs.ts";
import {
  chooseCompiler,
  compiledProgram,
  compiledTest,
  type Compiler,
  linkedAs,
  program,
} from "../support/compiled.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const choice = await chooseCompiler();

/** A home whose program is compiled, and whose PATH holds that program and nothing else. */
async function withCompiled(
  compiler: Compiler,
  work: (home: TestHome, dir: string) => Promise<void>,
  name = "runner",
): Promise<void> {
  await withTempDir(async (dir) => {
    const compiled = await compiledProgram(compiler, dir);
    const named = name === "runner" ? compiled : linkedAs(compiled, name);
    await using home = new TestHome(join(dir, "user"), { PATH: compiled.path, TMPDIR: dir }, named);
    await work(home, dir);
  });
}

compiledTest(
  choice,
  "the compiled program says its version and needs nothing else on PATH",
  (compiler) =>
    withCompiled(compiler, async (home, dir) => {
      const { code, out, err } = await home.run(["version", "--json"]);
      assertEquals([code, err], [0, ""]);
      const facts = JSON.parse(out) as Record<string, string>;
      assertEquals([facts.version, facts.os, facts.arch], [VERSION, Deno.build.os, Deno.build.arch]);
      assertEquals([...Deno.readDirSync(join(dir, "bin"))].map((entry) => entry.name), [program("runner")]);
    }),
);

compiledTest(
  choice,
  "the compiled program writes nothing to the temporary directory that others share",
  (compiler) =>
    withCompiled(compiler, async (home, dir) => {
      const before = [...Deno.readDirSync(dir)].map((entry) => entry.name).sort();
      assertEquals((await home.run(["demo"])).code, 0);
      assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name).sort(), before);
    }),
);

compiledTest(
  choice,
  "the compiled demo shows every stage with evidence and leaves nothing behind",
  (compiler) =>
    withCompiled(compiler, async (home, dir) => {
      const { code, out, err } = await home.run(["demo"]);
      assertEquals(code, 0, err);
      for (const stage of ["received", "handed", "placed", "seen", "done", "acked"]) {
        assertMatch(out, new RegExp(`^  ${stage} +\\+\\d+ ms  \\S`, "m"));
      }
      assertMatch(out, /answer {3}echo: Hello, agent/);
      assertEquals(await processesWith(`TMPDIR=${dir}`), []);
    }),
);

compiledTest(
  choice,
  "the compiled program delivers, restarts and stops as the sources do",
  (compiler) =>
    withCompiled(compiler, async (home) => {
      const runner = home.start(["echo", "--label", "api"]);
      await home.untilReady("api");
      const sent = await home.run(["send", "label:api", "one\ntwo", "--wait-reply"]);
      assertEquals([sent.code, sent.out], [0, "echo: one\ntwo\n"], sent.err);
      const restarted = await home.run(["restart", "label:api"]);
      assertEquals(restarted.code, 0, restarted.err);
      runner.kill("SIGTERM");
      assertEquals(await runner.ended(), 0, runner.err);
      assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
    }),
);

compiledTest(
  choice,
  "SIGKILL of the compiled runner leaves no process of its agent",
  (compiler) =>
    withCompiled(compiler, async (home) => {
      const runner = home.start(["echo", "--label", "api"]);
      const card = await home.untilReady("api");
      const marker = `AGENT_RELAY_ID=${card.id}`;
      assert((await processesWith(marker)).length > 0, "the marker finds nothing even while the agent runs");
      runner.kill("SIGKILL");
      await runner.ended();
      await until("no process of the agent", async () => (await processesWith(marker)).length === 0);
    }),
);

compiledTest(
  choice,
  `the compiled program gives the ${BAD_INPUTS.length} exact answers to bad input`,
  async (compiler, t) => {
    await withTempDir(async (dir) => {
      const compiled = await compiledProgram(compiler, dir);
      let checked = 0;
      for (const input of BAD_INPUTS) {
        await t.step(`${input.row}: ${input.code}, exit ${input.exit}`, async () => {
          await withTempDir((own) => checkBadInput(input, own, { PATH: compiled.path }, compiled));
          checked++;
        });
      }
      assertEquals(checked, BAD_INPUTS.length);
    });
  },
);

for (const provider of ["claude", "codex"]) {
  compiledTest(
    choice,
    `a link named ${provider}-relay to the compiled program implies the provider`,
    (compiler) =>
      withCompiled(compiler, async (home) => {
        const missing = join(home.cwd, "no-such-agent");
        home.provider(provider, { command: missing });
        const { code, err } = await home.run(["--headless"]);
        assertEquals(code, 5, err);
        assertStringIncludes(err, missing);
        assertStringIncludes(err, "E_PROVIDER_CMD");
        // A verb is still a verb.
        assertEquals((await home.run(["version"])).code, 0);
      }, `${provider}-relay`),
  );
}
