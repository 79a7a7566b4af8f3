import { lines } from "../../lib/base/bytes.ts";
import { serverArguments } from "../../lib/providers/codex/arguments.ts";
import { realClis } from "../support/real_clis.ts";
import { withRealAgent } from "../support/real_home.ts";
import { until } from "../support/temp.ts";
import { hearEvents } from "./_events.ts";
import { quantile } from "./_figures.ts";
import { stop } from "./_relay.ts";

const ROUNDS = 3;
/** SHA-256 of nothing in particular: the server wants one to start. */
const TOKEN_HASH = "0".repeat(64);

/**
 * From the start of `runner codex|claude --headless` until the relay, a process of its own, tells that the agent is
 * ready; and from the start of the bare Codex app-server until it says where it listens, in turn with it.
 */
export async function run(): Promise<Record<string, number>> {
  const codex = await readiness("codex");
  const claude = await readiness("claude");
  return {
    codex_ready_ms: codex.ready,
    codex_app_server_ms: codex.bare,
    codex_over_app_server_ms: codex.ready - codex.bare,
    claude_ready_ms: claude.ready,
  };
}

async function readiness(provider: "codex" | "claude"): Promise<{ ready: number; bare: number }> {
  const ready: number[] = [];
  const bare: number[] = [];
  const { codex } = await realClis();
  await withRealAgent(provider, async ({ home }) => {
    const relay = home.start(["relay", "--json"]);
    await until("the relay", () => relay.out.includes("\n"));
    const token = Deno.readTextFileSync(`${home.home}/relay.token`).trim();
    let onReady = (_at: number) => {};
    const events = await hearEvents(`http://127.0.0.1:${home.port}`, token, ({ event, data, at }) => {
      if (event === "agent.status" && data.ready === true) onReady(at);
    });
    // The first one of each warms the caches and is not counted.
    for (let round = 0; round <= ROUNDS; round++) {
      if (provider === "codex") bare.push(await listeningMs(codex, home.env, home.cwd));
      const seen = new Promise<number>((resolve) => onReady = resolve);
      const began = performance.now();
      const runner = home.start([provider, "--headless", "--label", "api"]);
      ready.push(await seen - began);
      await stop(runner);
    }
    await events.close();
    await stop(relay);
  });
  return { ready: quantile(ready.slice(1), 0.5), bare: quantile(bare.slice(1), 0.5) };
}

async function listeningMs(command: string, env: Record<string, string>, cwd: string): Promise<number> {
  const began = performance.now();
  const child = new Deno.Command(command, {
    args: serverArguments({ model: null, resume: null, serverArgs: [] }, TOKEN_HASH, 0),
    cwd,
    clearEnv: true,
    env,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let tookMs = NaN;
  for await (const line of lines(child.stderr, { maxLineBytes: 64 * 1024 })) {
    if (line.kind === "line" && line.text.includes("listening on: ws://")) {
      tookMs = performance.now() - began;
      child.kill("SIGTERM");
    }
  }
  await child.status;
  return tookMs;
}
