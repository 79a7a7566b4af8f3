import { assertEquals } from "@std/assert";
import { isThere } from "../../lib/base/private_file.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

Deno.test("an agent and a relay under nohup outlive the hang-up of their terminal", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay"], { below: ["nohup"] });
    await until("the relay", () => relay.out.includes("\n"));
    const agent = home.start(["echo", "--headless", "--label", "api"], { below: ["nohup"] });
    await home.untilReady("api");
    for (const each of [relay, agent]) each.kill("SIGHUP");
    const sent = await home.run(["send", "label:api", "hello", "--wait-reply"]);
    assertEquals([sent.code, sent.out], [0, "echo: hello\n"], sent.err + agent.err + relay.err);
    // Neither is on its way to an end: that is asked for by what is not ignored.
    for (const each of [agent, relay]) {
      each.kill("SIGTERM");
      assertEquals(await each.ended(), 0, each.err);
    }
    const drains = home.log().split("\n").filter((line) => line.includes("the run drains"));
    assertEquals(drains.map((line) => /SIG\w+/.exec(line)![0]), ["SIGTERM"]);
  });
});

Deno.test("an agent without nohup drains when its terminal hangs up", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    agent.kill("SIGHUP");
    assertEquals(await agent.ended(), 0, agent.err);
  });
});

Deno.test({
  name: "a run in a terminal that is closed drains, and nothing of it is left",
  // `script` is the terminal's window, and takes its command so on Linux only.
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withTempDir(async (dir) => {
      await using home = new TestHome(dir);
      Deno.writeTextFileSync(
        `${dir}/claude`,
        `#!/bin/sh\n[ "$1" = --version ] && exit\ntouch ${dir}/started\nexec sleep 1000\n`,
        {
          mode: 0o700,
        },
      );
      home.provider("claude", { command: `${dir}/claude` });
      const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
      const words = [home.program.command, ...home.program.args, "claude", "--label", "api"].map(quote);
      // The shell leads the session. It must outlive its terminal, but not have the runner ignore the hang-up.
      const session = `trap : HUP; ${words.join(" ")}; echo $? >${dir}/code`;
      const window = new Deno.Command("script", {
        args: ["-qfec", `/bin/sh -c ${quote(session)}`, "/dev/null"],
        cwd: home.cwd,
        clearEnv: true,
        env: { ...home.env, TERM: "xterm-256color" },
        stdin: "piped",
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        await until("the agent", () => isThere(`${dir}/started`));
        window.kill("SIGKILL");
        await until("the end of the run", () => isThere(`${dir}/code`));
        await until("its exit code", () => Deno.readTextFileSync(`${dir}/code`) !== "");
        assertEquals(Deno.readTextFileSync(`${dir}/code`), "0\n", home.log());
        const places = [...Deno.readDirSync(`${home.home}/state`)].filter((each) => each.isDirectory);
        assertEquals(places.length, 1);
        const left = [...Deno.readDirSync(`${home.home}/state/${places[0]!.name}`)].map(({ name }) => name);
        assertEquals(left.filter((name) => ["control.json", "admin.json", "run.json"].includes(name)), []);
        assertEquals(await processesWith(`AGENT_RELAY_HOME=${home.home}`), []);
      } finally {
        await window.stdin.close().catch(() => {});
        await window.status;
        for (const pid of await processesWith(`AGENT_RELAY_HOME=${home.home}`)) Deno.kill(pid, "SIGKILL");
      }
    }),
});
