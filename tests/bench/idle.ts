import { join } from "@std/path";
import { withRealAgent } from "../support/real_home.ts";
import type { Program, TestHome } from "../support/runner_process.ts";
import { withTempDir } from "../support/temp.ts";
import { compiledPair, prefixed } from "./_compiled.ts";
import { childrenOf, processFigures } from "./_proc.ts";
import { stop } from "./_relay.ts";

/**
 * Time to come to rest, and time over which the processor is watched. V8 collects what a start leaves behind for up to
 * 45 s after it.
 */
const REST_MS = 60_000;
const WATCH_MS = 40_000;

/** One server, one WebSocket to it, nothing else: the least that a Deno process of this kind can be. */
const BARE = `
const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = ({ data }) => socket.send(data);
  return response;
});
const socket = new WebSocket("ws://127.0.0.1:" + server.addr.port);
socket.onopen = () => socket.send("x");
socket.onmessage = () => console.log("up");
`;

export const runs = 3;

/**
 * Memory and processor of a runner that has nothing to do, with its relay in it and a real Codex below it, against a bare
 * process: from the sources, where both share the pages of Deno's program with each other and with the benchmark, and
 * compiled, where neither shares them with anybody. Resident memory (`rss`) shares nothing away.
 */
export async function run(): Promise<Record<string, number>> {
  return await withTempDir(async (dir) => {
    const script = join(dir, "bare.ts");
    await Deno.writeTextFile(script, BARE);
    const args = ["run", "--quiet", "--no-config", "--allow-net", script];
    const pair = await compiledPair(dir, BARE, ["--allow-net"]);
    // At the same time: they rest.
    const [sources, compiled] = await Promise.all([
      measure(undefined, Deno.execPath(), args),
      pair === null ? null : measure(pair.runner, pair.bare, []),
    ]);
    return compiled === null ? sources : { ...sources, ...prefixed("compiled", compiled) };
  });
}

async function measure(
  program: Program | undefined,
  command: string,
  args: readonly string[],
): Promise<Record<string, number>> {
  let figures: Record<string, number> = {};
  await withRealAgent("codex", async ({ home }) => {
    figures = await beside(home, command, args);
  }, program === undefined ? {} : { program });
  return figures;
}

async function beside(
  home: TestHome,
  command: string,
  args: readonly string[],
): Promise<Record<string, number>> {
  const bare = new Deno.Command(command, {
    args: [...args],
    cwd: home.cwd,
    clearEnv: true,
    env: home.env,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const runner = home.start(["codex", "--headless", "--label", "api"]);
  await home.untilReady("api");
  await rest(REST_MS);
  const children = await childrenOf(runner.pid);
  const guard = children.find(({ args }) => args.includes("relay-guard"));
  if (guard === undefined) throw new Error(`no guard among ${children.map(({ args }) => args)}`);
  const pids = [runner.pid, guard.pid, bare.pid];
  const before = await processFigures(pids);
  await rest(WATCH_MS);
  const after = await processFigures(pids);
  bare.kill("SIGKILL");
  await bare.status;
  await stop(runner);
  const [own, guarding, least] = after;
  const cpu = (index: number) => (after[index]!.cpuMs - before[index]!.cpuMs) / WATCH_MS * 100;
  return {
    runner_pss_mib: own!.pssKib / 1024,
    guard_pss_mib: guarding!.pssKib / 1024,
    bare_pss_mib: least!.pssKib / 1024,
    runner_rss_mib: own!.rssKib / 1024,
    bare_rss_mib: least!.rssKib / 1024,
    pss_x_bare: (own!.pssKib + guarding!.pssKib) / least!.pssKib,
    rss_x_bare: own!.rssKib / least!.rssKib,
    runner_cpu_percent: cpu(0),
    guard_cpu_percent: cpu(1),
  };
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
