/**
 * `deno task campaign flood [messages]`: a million messages of 1 KiB to one echo agent, as fast as the relay takes
 * them. The relay, the runner with its agent, and the sender are three processes. What was lost or done twice is read
 * from the agent's own record, and the peak of the runner's memory from the kernel.
 */
import { join } from "@std/path";
import { deliveryIdOf } from "../../lib/base/uuid.ts";
import { noLog } from "../../lib/base/log.ts";
import { systemClock } from "../../lib/base/clock.ts";
import { ECHO_RECORD } from "../../lib/providers/echo/protocol.ts";
import { RelayBusClient, RelayHttpClient } from "../../lib/sdk/mod.ts";
import { RUN_ARGS, TestHome } from "../support/runner_process.ts";
import { countArg } from "../support/task_args.ts";
import { pause, until, withTempDir } from "../support/temp.ts";
import type { CampaignReport } from "./main.ts";

const MESSAGES = 1_000_000;
const IN_FLIGHT = 256;
const LIMIT_MIB = 256;
const RUNNER = [...RUN_ARGS, "echo", "--headless", "--agent-id", "flooded"];
const BODY = "x".repeat(1_000);
/** Without any message done for so long the campaign gives up. */
const STALL_MS = 120_000;

/** Peak resident size of a process in MiB, from the kernel: Deno itself may not read /proc. */
async function peakMib(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", `grep VmHWM /proc/${pid}/status`],
    stdout: "piped",
  }).output();
  return Math.round(Number(/(\d+) kB/.exec(new TextDecoder().decode(stdout))?.[1] ?? NaN) / 1024);
}

async function sizeMib(path: string): Promise<number> {
  const { size } = await Deno.stat(path);
  return Math.round(size / 1024 / 1024);
}

export async function run(args: readonly string[]): Promise<CampaignReport> {
  const count = countArg(args, MESSAGES);
  return await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const relay = home.start(["relay", "--json"]);
    await until("the relay", () => relay.out.includes("\n"));
    const { url } = JSON.parse(relay.out) as { url: string };
    const token = Deno.readTextFileSync(join(home.home, "relay.token")).trim();
    const agent = new Deno.Command("/bin/sh", {
      // The agent's answers are its output, which nobody reads here.
      args: ["-c", 'exec "$@" >/dev/null 2>&1', "sh", Deno.execPath(), ...RUNNER],
      clearEnv: true,
      env: home.env,
      cwd: home.cwd,
      stdin: "null",
    }).spawn();
    try {
      const http = new RelayHttpClient({ url, token });
      await until("the agent", async () => {
        const card = await http.getAgent("flooded");
        return card.ok && card.value.ready;
      }, 60_000);
      const { accepted, sendMs, storeId, doneMs } = await flood(url, token, http, count);
      const peak = await peakMib(agent.pid);
      const relayPeak = await peakMib(relay.pid);
      const record = Deno.readTextFileSync(join(home.home, "state", "flooded", ECHO_RECORD));
      const { lost, twice } = judge(record, storeId, accepted);
      const journalMib = await sizeMib(join(home.home, "state", "flooded", "journal.db"));
      const relayMib = await sizeMib(join(home.home, "relay.db"));
      return {
        ok: accepted.length === count && lost === 0 && twice === 0 && peak <= LIMIT_MIB,
        messages: count,
        accepted: accepted.length,
        lost,
        twice,
        runnerPeakMib: peak,
        relayPeakMib: relayPeak,
        journalMib,
        relayMib,
        sendSeconds: Math.round(sendMs / 1_000),
        seconds: Math.round(doneMs / 1_000),
        messagesPerSecond: Math.round(count / doneMs * 1_000),
      };
    } finally {
      try {
        agent.kill("SIGTERM");
      } catch { /* it ended */ }
      await agent.status;
      relay.kill("SIGTERM");
      await relay.ended();
    }
  });
}

/** Sends everything, then waits until the relay has nothing unread for the agent. */
async function flood(
  url: string,
  token: string,
  http: RelayHttpClient,
  count: number,
): Promise<{ accepted: number[]; sendMs: number; doneMs: number; storeId: string }> {
  const bus = new RelayBusClient({
    url,
    token,
    registration: {
      role: "integration",
      componentId: "flooder",
      instanceId: crypto.randomUUID(),
      capabilities: [],
      tags: [],
      machine: "campaign",
      meta: {},
    },
    events: {},
    clock: systemClock,
    random: Math.random,
    log: noLog,
  });
  bus.connect();
  await until("the sender's registration", () => bus.transportState.state === "registered");
  const started = performance.now();
  const accepted: number[] = [];
  let next = 0;
  let storeId = "";
  const sender = async () => {
    while (next < count) {
      const idempotencyKey = `flood-${next++}`;
      for (const began = performance.now();;) {
        const sent = await bus.send({ from: "flooder", to: "flooded", body: BODY, idempotencyKey });
        if (sent.ok) {
          accepted.push(sent.value.message.id);
          storeId = sent.value.message.storeId;
          break;
        }
        if (performance.now() - began > STALL_MS) throw new Error(`the relay takes nothing: ${sent.kind}`);
        // The key makes a repeat safe.
        await pause(100);
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, sender));
  const sendMs = performance.now() - started;
  let first = -1;
  let movedAt = performance.now();
  for (;;) {
    const unread = await http.listUnread("flooded", { limit: 1 });
    if (unread.ok && unread.value.length === 0) break;
    if (unread.ok && unread.value[0]!.id !== first) {
      first = unread.value[0]!.id;
      movedAt = performance.now();
    } else if (performance.now() - movedAt > STALL_MS) break;
    await pause(500);
  }
  const doneMs = performance.now() - started;
  await bus.close();
  await http.deleteAgent("flooder");
  return { accepted, sendMs, doneMs, storeId };
}

/** Compares the agent's record with what was accepted. */
function judge(record: string, storeId: string, accepted: number[]): { lost: number; twice: number } {
  const handled = new Map<string, number>();
  for (const line of record.split("\n")) if (line !== "") handled.set(line, (handled.get(line) ?? 0) + 1);
  let lost = 0;
  for (const id of accepted) if (!handled.has(deliveryIdOf(storeId, "flooded", id, 1))) lost++;
  let twice = 0;
  for (const times of handled.values()) if (times > 1) twice++;
  return { lost, twice: twice + Math.max(0, handled.size - accepted.length) };
}
