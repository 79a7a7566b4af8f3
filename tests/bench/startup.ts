import { join } from "@std/path";
import { TestHome } from "../support/runner_process.ts";
import { withTempDir } from "../support/temp.ts";
import { compiledPair, prefixed, subdirectory } from "./_compiled.ts";
import { commandMs, inTurn } from "./_figures.ts";

const ROUNDS = 7;
const HELLO = 'console.log("hello");\n';

/**
 * From the start of a process to its end: `runner version`, `runner help` and a hook that posts to its runner, against a
 * hello world of the same Deno in the same run; from the sources, and compiled.
 */
export async function run(): Promise<Record<string, number>> {
  return await withTempDir(async (dir) => {
    const hello = join(dir, "hello.ts");
    await Deno.writeTextFile(hello, HELLO);
    const sources = await measure(new TestHome(subdirectory(dir, "sources")), [
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-config",
      hello,
    ]);
    const pair = await compiledPair(subdirectory(dir, "pair"), HELLO);
    if (pair === null) return sources;
    const compiled = await measure(new TestHome(subdirectory(dir, "compiled"), {}, pair.runner), [pair.bare]);
    return { ...sources, ...prefixed("compiled", compiled) };
  });
}

async function measure(started: TestHome, hello: readonly string[]): Promise<Record<string, number>> {
  await using home = started;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    await request.text();
    return new Response(null, { status: 204 });
  });
  const control = join(home.cwd, "control.json");
  const url = `http://127.0.0.1:${server.addr.port}`;
  await Deno.writeTextFile(control, JSON.stringify({ url, token: "t", monitorToken: "m" }), { mode: 0o600 });
  const [command, ...args] = hello;
  const bare = () =>
    commandMs(
      new Deno.Command(command!, { args, cwd: home.cwd, clearEnv: true, env: home.env, stdin: "null" }),
    );
  const hook = async () => {
    const began = performance.now();
    const child = new Deno.Command(home.program.command, {
      args: [...home.program.args, "hook", "SessionStart"],
      cwd: home.cwd,
      clearEnv: true,
      env: { ...home.env, AGENT_RELAY_CONTROL_FILE: control },
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode('{"session_id":"x","source":"startup"}'));
    await writer.close();
    await child.status;
    return performance.now() - began;
  };
  const measurements = {
    hello_ms: bare,
    version_ms: () => commandMs(home.command(["version"])),
    help_ms: () => commandMs(home.command(["help"])),
    hook_ms: hook,
  };
  try {
    await inTurn(1, measurements);
    const figures = await inTurn(ROUNDS, measurements);
    return {
      ...figures,
      version_x_hello: figures.version_ms / figures.hello_ms,
      hook_x_hello: figures.hook_ms / figures.hello_ms,
    };
  } finally {
    await server.shutdown();
  }
}
