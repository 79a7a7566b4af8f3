/**
 * `codex app-server --listen ws://127.0.0.1:PORT ...` as a process of its own, with {@linkcode FakeAppServer} inside:
 * banner on stderr, capability token, threads in `$CODEX_HOME/fake_threads.json` (they outlive a SIGKILL), the drain of
 * the first signal, exit code 1 for a port in use and 2 for unknown flags.
 */
import { join } from "@std/path";
import {
  FakeAppServer,
  type FakeModel,
  obeyText,
  serveFakeAppServer,
  ThreadStore,
} from "./fake_app_server.ts";

/**
 * Runs until a signal ends it; `model` plays the model. `front` may put something between the server's port and its
 * clients; the banner then names that port.
 */
export async function runFakeAppServer(
  args: readonly string[],
  model: FakeModel = obeyText,
  front: (port: number) => number = (port) => port,
): Promise<never> {
  const option = (name: string) => {
    const at = args.indexOf(name);
    return at < 0 ? null : args[at + 1] ?? null;
  };
  const listen = /^ws:\/\/127\.0\.0\.1:(\d+)$/.exec(option("--listen") ?? "");
  if (args[0] !== "app-server" || listen === null) say("error: unexpected argument", 2);
  const home = Deno.env.get("CODEX_HOME") ?? join(Deno.env.get("HOME")!, ".codex");
  const server = new FakeAppServer({ store: new ThreadStore(join(home, "fake_threads.json")), model });
  let draining = false;
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => {
      if (draining) Deno.exit(0);
      draining = true;
      void server.whenIdle().then(() => Deno.exit(0));
    });
  }
  try {
    const { port } = serveFakeAppServer(server, {
      port: Number(listen![1]),
      tokenSha256: option("--ws-token-sha256"),
    });
    say(`codex app-server (WebSockets)\n  listening on: ws://127.0.0.1:${front(port)}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    say("Error: Address in use (os error 98)", 1);
  }
  return await new Promise<never>(() => {});
}

function say(text: string, exitCode?: number): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text + "\n"));
  if (exitCode !== undefined) Deno.exit(exitCode);
}

if (import.meta.main) await runFakeAppServer(Deno.args);
