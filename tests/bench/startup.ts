import { join } from "@std/path";
import { TestHome } from "../support/runner_process.ts";
import { withTempDir } from "../support/temp.ts";
import { commandMs, inTurn } from "./_figures.ts";

const ROUNDS = 7;

/**
 * From the start of a process to its end: `runner version`, `runner help` and a hook that posts to its runner, against a
 * hello world of the same Deno in the same run.
 */
export async function run(): Promise<Record<string, number>> {
  return await withTempDir(async (dir) => {
    const home = new TestHome(dir);
    const hello = join(dir, "hello.ts");
    await Deno.writeTextFile(hello, 'console.log("hello");\n');
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      await request.text();
      return new Response(null, { status: 204 });
    });
    const control = join(dir, "control.json");
    const url = `http://127.0.0.1:${server.addr.port}`;
    await Deno.writeTextFile(control, JSON.stringify({ url, token: "t", monitorToken: "m" }), {
      mode: 0o600,
    });
    const bare = () =>
      commandMs(
        new Deno.Command(Deno.execPath(), {
          args: ["run", "--quiet", "--no-config", hello],
          cwd: dir,
          clearEnv: true,
          env: home.env,
          stdin: "null",
        }),
      );
    const hook = async () => {
      const began = performance.now();
      const child = new Deno.Command(home.program.command, {
        args: [...home.program.args, "hook", "SessionStart"],
        cwd: dir,
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
  });
}
