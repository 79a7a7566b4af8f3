import { assert, assertEquals } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { VERSION } from "../../lib/base/version.ts";
import {
  chooseCompiler,
  type CompiledProgram,
  compiledProgram,
  compiledTest,
  linkedAs,
} from "../support/compiled.ts";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { describeProcesses, processesWith } from "../support/runner_process.ts";
import { receiptOf, stagesOf } from "../support/seat.ts";
import { withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const choice = await chooseCompiler();

for (const provider of ["claude", "codex"] as const) {
  compiledTest(
    choice,
    `${provider}-relay, compiled, delivers to the real agent, with evidence, and leaves nothing behind`,
    (compiler) =>
      withTempDir(async (dir) => {
        const compiled = await compiledProgram(compiler, dir);
        const program = linkedAs(compiled, `${provider}-relay`);
        await withRealAgent(provider, (agent) => deliver(agent, compiled), {
          program,
          env: { PATH: compiled.path },
        });
      }),
  );
}

async function deliver(agent: RealAgent, compiled: CompiledProgram): Promise<void> {
  const { home, model, provider } = agent;
  // No verb: the name of the link says which agent.
  const runner = home.start(["--headless", "--label", "api"]);
  const card = await home.untilReady("api");
  assertEquals((card.tags as string[]).includes(provider), true, JSON.stringify(card));
  let readWhenAsked: boolean | null = null;
  model.decide = async (request) => {
    if (!request.text.includes("marker-one")) return null;
    readWhenAsked = (await receiptOf(agent, 1)).recipients[0]!.read;
    return { kind: "say", text: "the answer" };
  };
  const sent = await home.run(["send", "label:api", "please marker-one", "--wait-reply", "--timeout", "30s"]);
  assertEquals([sent.code, sent.out], [0, "the answer\n"], sent.err + runner.err);
  assertEquals([readWhenAsked, model.asked("marker-one")], [false, 1]);
  const stages = stagesOf(await receiptOf(agent, 1));
  assertEquals(stages.slice(0, 4), ["received", "handed", "placed", "seen"]);
  assert(stages.indexOf("seen") < stages.indexOf("acked"));
  if (provider === "claude") assertUnpacked(join(home.home, "state", String(card.id)), compiled.command);
  runner.kill("SIGTERM");
  assertEquals(await runner.ended(), 0, runner.err);
  const left = await processesWith(`AGENT_RELAY_HOME=${home.home}`);
  assertEquals(await describeProcesses(left), [], compiled.command);
}

/** The plugin exists only inside the program until it is started; on disk, its hooks name the program itself. */
function assertUnpacked(stateDir: string, program: string): void {
  const [plugin, ...more] = [...Deno.readDirSync(stateDir)].filter(({ name }) => name.startsWith("plugin-"));
  assertEquals(more.length, 0);
  const read = (name: string) => Deno.readTextFileSync(join(stateDir, plugin!.name, name));
  const skill = "skills/relay/SKILL.md";
  assertEquals(read(skill), Deno.readTextFileSync(join(ROOT, "plugins", "claude", skill)));
  assertEquals(JSON.parse(read(".claude-plugin/plugin.json")).version, VERSION);
  const { hooks } = JSON.parse(read("hooks/hooks.json")) as {
    hooks: Record<string, { hooks: { command: string; args: string[] }[] }[]>;
  };
  const [hook] = hooks.SessionStart![0]!.hooks;
  assertEquals([hook!.command, hook!.args], [program, ["hook", "SessionStart"]]);
  assertEquals(Deno.statSync(join(stateDir, plugin!.name, skill)).mode! & 0o777, 0o600);
}
