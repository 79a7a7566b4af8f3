import { assertEquals, assertMatch } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { type RealAgent, withRealAgent } from "../support/real_home.ts";
import { RUN_ARGS } from "../support/runner_process.ts";
import { gone, withSeat } from "../support/seat.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const README = Deno.readTextFileSync(join(ROOT, "README.md"));

/** Every command of the README, in order. */
const COMMANDS = [...README.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap((block) =>
  block[1]!.split("\n").filter((line) => line !== "")
);
const run = new Set<string>();

/** Takes the commands that match off the list of those that nobody has run. */
function commands(pattern: RegExp): string[] {
  const found = COMMANDS.filter((each) => pattern.test(each));
  assertEquals(found.length > 0, true, `no command of the README matches ${pattern}`);
  for (const each of found) run.add(each);
  return found;
}

/** A directory with `runner` in it, which is what the README's `deno task runner` is short for. */
function withRunnerOnPath(dir: string): string {
  const bin = join(dir, "bin");
  Deno.mkdirSync(bin);
  const words = [Deno.execPath(), ...RUN_ARGS].map((word) => `'${word}'`).join(" ");
  Deno.writeTextFileSync(join(bin, "runner"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  return bin;
}

/** Runs a line of the README in a shell, as a person would. */
async function shell({ home, dir }: Pick<RealAgent, "home" | "dir">, bin: string, line: string) {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", line.replace("deno task runner", "runner")],
    cwd: home.cwd,
    clearEnv: true,
    env: { ...home.env, PATH: `${bin}:${Deno.env.get("PATH")}`, TMPDIR: dir },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("the README's first commands work: the demo shows every stage, and the tasks are there", async () => {
  const [demo, test] = commands(/^npx -y deno@/);
  assertEquals([demo, test], [
    `npx -y deno@${Deno.version.deno} task demo`,
    `npx -y deno@${Deno.version.deno} task test`,
  ]);
  const { tasks } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))) as {
    tasks: Record<string, { command: string }>;
  };
  assertMatch(tasks.test!.command, /deno test /);
  // What this file takes `deno task runner` for.
  assertEquals(
    tasks.runner!.command.split(" ").slice(1).filter((word) => word !== "main.ts"),
    RUN_ARGS.filter((word) => !word.startsWith("/") && word !== "--config"),
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "demo"],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const out = new TextDecoder().decode(stdout);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  // The very lines that the README shows, but for the times.
  const shown = /```text\n([\s\S]*?)```/.exec(README)![1]!;
  const plain = (text: string) => text.replace(/\+\d+ ms/g, "+N ms").replace(/ +/g, " ").trim();
  assertEquals(plain(out).includes(plain(shown)), true, out);
});

Deno.test("the README's commands work with Claude Code in a terminal", async () => {
  const [start] = commands(/^deno task runner claude --label api$/);
  assertEquals(start, "deno task runner claude --label api");
  await withSeat("claude", [], async (seat) => {
    const bin = withRunnerOnPath(seat.dir);
    await seat.home.untilReady("api");
    const outputs: Record<string, string> = {};
    for (const line of commands(/^deno task runner (status|send|receipt|restart|stop)\b/)) {
      const { code, out, err } = await shell(seat, bin, line);
      assertEquals(code, 0, `${line}: ${err}`);
      outputs[line.split(" ")[3]!] = out;
    }
    assertMatch(outputs.status!, /label:api {2}idle/);
    assertMatch(outputs.receipt!, /seen/);
    assertMatch(outputs.restart!, /restarted/);
    await gone(seat, 0);
  });
});

Deno.test("the README's headless command works with Codex", async () => {
  const [start] = commands(/^deno task runner codex --headless --label ci$/);
  await withRealAgent("codex", async (agent) => {
    const runner = agent.home.start(start!.split(" ").slice(3));
    await agent.home.untilReady("ci");
    runner.kill("SIGTERM");
    assertEquals(await runner.ended(), 0, runner.err);
  });
});

Deno.test("the README's jobs work: with echo, Claude Code and Codex", async () => {
  for (const provider of ["echo", "claude", "codex"] as const) {
    const [line] = commands(new RegExp(`runner ${provider} --once`));
    await withRealAgent(provider === "echo" ? "claude" : provider, async (agent) => {
      const bin = withRunnerOnPath(agent.dir);
      Deno.writeTextFileSync(join(agent.home.cwd, "task.md"), "Do the task. [[say finished]]");
      const git =
        "git init -q -b main . && git -c user.name=t -c user.email=t@t.invalid commit -q --allow-empty -m x";
      assertEquals((await shell(agent, bin, git)).code, 0);
      Deno.writeTextFileSync(join(agent.home.cwd, "file"), "changed");
      await shell(agent, bin, "git add -N file");
      const { code, out, err } = await shell(agent, bin, line!);
      assertEquals(code, 0, `${line}: ${err}`);
      assertMatch(out, provider === "echo" ? /echo: Say hello/ : /finished|mock: /);
      if (!line!.includes("--result")) return;
      const result = JSON.parse(Deno.readTextFileSync(join(agent.home.cwd, "result.json"))) as {
        outcome: string;
      };
      assertEquals(result.outcome, "succeeded");
    });
  }
});

Deno.test("no command of the README is left that these tests do not run", () => {
  assertEquals(COMMANDS.filter((each) => !run.has(each)), []);
});
