import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { type ControlServer, serveControl } from "../../lib/control/server.ts";
import { WatchDoor } from "../../lib/control/watch.ts";
import { RUN_ARGS } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** A control server that notes its hooks. */
async function withServer(
  work: (place: { server: ControlServer; hooks: [string, unknown][]; dir: string }) => Promise<void>,
  answer: () => Promise<Record<string, unknown>> = () => Promise.resolve({}),
): Promise<void> {
  await withTempDir(async (dir) => {
    const hooks: [string, unknown][] = [];
    const hook = (name: string, body: Record<string, unknown>) => {
      hooks.push([name, body]);
      return answer();
    };
    const events = { statusHint() {}, hook, shutdown() {} };
    const server = serveControl({
      dir,
      agentId: "a",
      clock: systemClock,
      log: noLog,
      watch: new WatchDoor(JSON.stringify),
      tools: null,
      view: () => ({}),
      events,
    });
    try {
      await work({ server, hooks, dir });
    } finally {
      await server.stop();
    }
  });
}

function start(args: string[], controlFile: string | null): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [...RUN_ARGS, ...args],
    env: controlFile === null ? {} : { AGENT_RELAY_CONTROL_FILE: controlFile },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function runHook(
  input: string,
  controlFile: string | null,
  ...args: string[]
): Promise<[number, string, string]> {
  const child = start(["hook", "SessionStart", ...args], controlFile);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  return [code, new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)];
}

Deno.test("runner hook posts its input, and says nothing and fails nothing whatever is wrong", async () => {
  const QUIET: [number, string, string] = [0, "", ""];
  await withServer(async ({ server, hooks, dir }) => {
    assertEquals(await runHook('{"source":"startup"}', server.controlFile), QUIET);
    assertEquals(hooks, [["SessionStart", { source: "startup" }]]);
    // Any other command line than the agent's own goes by the table of verbs, to the same work.
    assertEquals(await runHook('{"source":"resume"}', server.controlFile, "--"), QUIET);
    assertEquals(hooks.splice(1), [["SessionStart", { source: "resume" }]]);
    const bad = join(dir, "bad.json");
    for (const text of ["", "{", "[]", '{"url":"http://10.0.0.1:80","token":"t","monitorToken":"m"}']) {
      Deno.writeTextFileSync(bad, text);
      assertEquals(await runHook("{}", bad), QUIET, text);
    }
    assertEquals(await runHook("{}", null), QUIET);
    assertEquals(await runHook("{}", join(dir, "missing.json")), QUIET);
    assertEquals(await runHook("no json", server.controlFile), QUIET);
    assertEquals(await runHook("x".repeat(2 * 1024 * 1024), server.controlFile), QUIET);
    assertEquals(hooks.length, 1);
  });
  // Nobody listens any more, and somebody who never answers.
  await withTempDir(async (dir) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const file = join(dir, "control.json");
    const url = `http://127.0.0.1:${listener.addr.port}`;
    Deno.writeTextFileSync(file, JSON.stringify({ url, token: "t", monitorToken: "m" }));
    const began = performance.now();
    assertEquals(await runHook("{}", file), QUIET);
    // It waits for 1 s at most.
    assertEquals(performance.now() - began < 5_000, true);
    listener.close();
    assertEquals(await runHook("{}", file), QUIET);
  });
});

Deno.test("runner monitor prints what it is given, comes back to a new server, and ends with its agent", async () => {
  await withServer(async ({ server }) => {
    // The shell stands for the agent: it is killed and leaves the monitor behind.
    const quoted = [Deno.execPath(), ...RUN_ARGS, "monitor"].map((word) => `'${word}'`).join(" ");
    const agent = new Deno.Command("/bin/sh", {
      args: ["-c", `${quoted} & echo "pid $!"; wait`],
      env: { AGENT_RELAY_CONTROL_FILE: server.controlFile },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const decoder = new TextDecoder();
    let out = "";
    const reading = (async () => {
      for await (const chunk of agent.stdout) out += decoder.decode(chunk, { stream: true });
    })();
    await server.monitor.deliver("D", [{ messageId: "1", line: "a message" }], AbortSignal.timeout(20_000));
    await until("the line", () => out.includes("a message\n"));
    const pid = Number(/pid (\d+)/.exec(out)![1]);
    agent.kill("SIGKILL");
    await agent.status;
    // The pipe ends with the last process that holds it.
    await reading;
    assertEquals(out, `pid ${pid}\na message\n`);
    assertEquals(await new Response(agent.stderr).text(), "");
  });
});
