import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { drains, filesBelow } from "../support/job.ts";
import { processesWith, RunningCommand, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const ACTION = join(ROOT, ".github", "actions", "runner");

/** The action's step as GitHub runs it: inputs as variables, files for outputs and summary, no terminal. */
class Step {
  readonly home: TestHome;
  readonly dir: string;
  readonly temp: string;
  readonly #program: string;

  constructor(dir: string) {
    this.dir = dir;
    this.home = new TestHome(dir);
    this.temp = join(dir, "temp");
    Deno.mkdirSync(this.temp);
    const { command, args } = this.home.program;
    this.#program = join(dir, "runner");
    const quoted = [command, ...args].map((part) => `'${part}'`).join(" ");
    Deno.writeTextFileSync(this.#program, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  }

  /** Inputs that are not given are empty variables, as GitHub has it; `env` is the job's own. */
  start(inputs: Record<string, string>, env: Record<string, string> = {}): RunningCommand {
    env = { ...env };
    for (const name of ["RELAY_URL", "RELAY_TOKEN"]) env[`AGENT_INPUT_${name}`] = "";
    for (const [name, value] of Object.entries({ COMMAND: this.#program, PROVIDER: "echo", ...inputs })) {
      env[`AGENT_INPUT_${name}`] = value;
    }
    return new RunningCommand(
      new Deno.Command("bash", {
        args: ["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", 'exec sh "$GITHUB_ACTION_PATH/run.sh"'],
        cwd: this.home.cwd,
        clearEnv: true,
        env: {
          ...this.home.env,
          GITHUB_ACTIONS: "true",
          GITHUB_ACTION_PATH: ACTION,
          GITHUB_OUTPUT: join(this.dir, "output"),
          GITHUB_STEP_SUMMARY: join(this.dir, "summary"),
          RUNNER_TEMP: this.temp,
          ...env,
        },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
  }

  /** The outputs as GitHub reads them: the last value of a name counts. */
  outputs(): Record<string, string> {
    const values: Record<string, string> = {};
    const lines = Deno.readTextFileSync(join(this.dir, "output")).split("\n");
    for (let i = 0; i < lines.length; i++) {
      const heredoc = /^([\w-]+)<<(.+)$/.exec(lines[i]!);
      const plain = /^([\w-]+)=(.*)$/.exec(lines[i]!);
      if (heredoc) {
        const end = lines.indexOf(heredoc[2]!, i + 1);
        values[heredoc[1]!] = lines.slice(i + 1, end).join("\n");
        i = end;
      } else if (plain) values[plain[1]!] = plain[2]!;
    }
    return values;
  }
}

Deno.test("the action does a job and gives its outcome, exit code, text and result", async () => {
  await withTempDir(async (dir) => {
    const step = new Step(dir);
    const running = step.start({ PROMPT: "hello\n::error::from the prompt", MAX_TIME: "1m", MAX_TURNS: "3" });
    assertEquals(await running.ended(), 0, running.err);
    const { result, ...outputs } = step.outputs();
    assertEquals(outputs, {
      outcome: "succeeded",
      "exit-code": "0",
      text: "echo: hello\n::error::from the prompt",
    });
    assertEquals((JSON.parse(Deno.readTextFileSync(result!)) as { outcome: string }).outcome, "succeeded");
    assertMatch(running.out, /^::stop-commands::(\S+)\necho: hello\n::error::from the prompt\n::\1::\n$/);
    assertStringIncludes(Deno.readTextFileSync(join(dir, "summary")), "### echo: succeeded");
    assertEquals(await processesWith(`AGENT_RELAY_HOME=${step.home.home}`), []);
  });
});

Deno.test("no input of the action is ever run: each is one argument of the runner", async () => {
  await withTempDir(async (dir) => {
    const evil = (name: string) =>
      `x'; touch ${dir}/pwned-${name}; $(touch ${dir}/pwned-${name}) \`touch ${dir}/pwned-${name}\` "`;
    const prompt = new Step(dir);
    const said = prompt.start({ PROMPT: evil("prompt"), PROVIDER_ARGS: "--slow\n1ms" });
    assertEquals(await said.ended(), 0, said.err);
    assertEquals(prompt.outputs().text, `echo: ${evil("prompt")}`);
    const names = [
      "APPROVAL",
      "WORKING_DIRECTORY",
      "CONVERSATION",
      "MAX_TURNS",
      "MAX_TIME",
      "MAX_COST",
      "LABEL",
      "RELAY_URL",
    ];
    for (const name of [...names, "CONNECT_TIMEOUT", "PROMPT_FILE", "PROVIDER", "PROVIDER_ARGS"]) {
      const given = name === "PROMPT_FILE" ? {} : { PROMPT: "x" };
      const running = prompt.start({ ...given, [name]: evil(name) });
      const code = await running.ended();
      assert(code === 2 || code === 5, `${name}: ${code} ${running.err}`);
      assertEquals([prompt.outputs().outcome, prompt.outputs()["exit-code"]], ["error", String(code)], name);
    }
    for (const provider of ["--help", "version"]) {
      assertEquals(
        await prompt.start({ PROVIDER: provider, PROMPT: "x" }).ended(),
        2,
        "no other verb of the runner",
      );
    }
    assertEquals(filesBelow(dir).filter((path) => path.includes("pwned")), []);
  });
});

Deno.test("the job's own relay and token are kept by a step without those inputs, and give way to one with them", async () => {
  await withTempDir(async (dir) => {
    const step = new Step(dir);
    const command = join(dir, "shows-env");
    Deno.writeTextFileSync(command, '#!/bin/sh\nenv | grep RELAY | sort\necho "$@"\n', { mode: 0o755 });
    const shown = async (inputs: Record<string, string>) => {
      const job = { AGENT_RELAY_TOKEN: "of-the-job", AGENT_RELAY_URL: "http://job.example" };
      const running = step.start({ COMMAND: command, ...inputs }, job);
      assertEquals(await running.ended(), 0, running.err);
      const lines = running.out.split("\n").filter((line) => !line.includes("RELAY_HOME") && line !== "");
      return lines.map((line) => line.replace(/--result=\S+/, "--result=FILE"));
    };
    const words = "echo --once --result=FILE";
    assertEquals(await shown({}), [
      "AGENT_INPUT_RELAY_URL=",
      "AGENT_RELAY_TOKEN=of-the-job",
      "AGENT_RELAY_URL=http://job.example",
      words,
    ]);
    assertEquals(await shown({ RELAY_TOKEN: "of-the-step", RELAY_URL: "http://step.example" }), [
      "AGENT_INPUT_RELAY_URL=http://step.example",
      "AGENT_RELAY_TOKEN=of-the-step",
      "AGENT_RELAY_URL=http://job.example",
      `${words} --relay-url=http://step.example`,
    ]);
  });
});

Deno.test("a cancelled step's SIGINT reaches the runner, which ends with its own code", async () => {
  await withTempDir(async (dir) => {
    const step = new Step(dir);
    const running = step.start({ PROMPT: "x", PROVIDER_ARGS: "--slow\n1h" });
    const state = join(step.home.home, "state");
    await until("the turn", () => {
      try {
        return filesBelow(state).some((path) =>
          path.endsWith("echo.log") && Deno.readTextFileSync(join(state, path)).startsWith("seen ")
        );
      } catch {
        return false;
      }
    });
    running.kill("SIGINT");
    // Two signals that wait at once come in no certain order.
    await until("the drain", () => drains(step.home) === 1);
    running.kill("SIGTERM");
    assertEquals(await running.ended(30_000), 143, running.err);
    assertEquals([step.outputs().outcome, step.outputs()["exit-code"]], ["cancelled", "143"]);
    assertEquals(await processesWith(`AGENT_RELAY_HOME=${step.home.home}`), []);
  });
});

Deno.test("the action's inputs, variables and script agree, and no expression is in a command's text", () => {
  const yaml = Deno.readTextFileSync(join(ACTION, "action.yml"));
  const script = Deno.readTextFileSync(join(ACTION, "run.sh"));
  const inputs = [...yaml.split("outputs:")[0]!.matchAll(/^ {2}([a-z-]+):$/gm)].map((match) => match[1]!);
  assert(inputs.length >= 12, inputs.join());
  for (const name of inputs) {
    const variable = `AGENT_INPUT_${name.toUpperCase().replaceAll("-", "_")}`;
    assertStringIncludes(yaml, `${variable}: \${{ inputs.${name} }}`);
    assertMatch(script, new RegExp(`\\$${variable}\\b`));
  }
  const workflows = [yaml, Deno.readTextFileSync(join(ROOT, "examples", "github-actions.yml"))];
  let commands = 0;
  for (const text of workflows) {
    for (const block of text.matchAll(/^( *)(?:- )?run: (.*(?:\n\1 +.*)*)/gm)) {
      commands++;
      assertEquals(block[2]!.includes("${{"), false, block[0]);
    }
  }
  assert(commands >= 3);
});
