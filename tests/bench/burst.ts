import type { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { until } from "../support/temp.ts";
import { childrenOf, cpuMs } from "./_proc.ts";
import { pour, sender, stop, withRelayProcess } from "./_relay.ts";

const COUNT = 10_000;
/** The first ones warm the code up: their cost is that of the compiler. */
const WARM_UP = 1_000;

/**
 * 10,000 messages to one echo agent, from the first send to the last ack, and the processor time of the processes that a
 * message passes.
 */
export async function run(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  await withRelayProcess(async ({ home, url, token, http }) => {
    const agent = home.start(["echo", "--headless", "--label", "sink"]);
    const { id } = await home.untilReady("sink") as { id: string };
    const relays = await childrenOf(Deno.pid);
    const pids = {
      relay: relays.find(({ args }) => args.includes(`relay --port ${home.port}`))!.pid,
      runner: agent.pid,
      echo: (await childrenOf(agent.pid)).find(({ args }) => args.includes("__echo-agent"))!.pid,
    };
    const bus = await sender(url, token, "burst");
    let sent = 0;
    const send = async (count: number) => {
      await pour(bus, { from: "burst", to: id, count, window: 1_000, body: "hello" });
      // A new relay counts its messages from 1. The one call that waits costs the relay nothing, asking again and again does.
      await untilRead(http, sent += count);
      await until("the last ack", async () => {
        const unread = await http.listUnread(id, { limit: 1 });
        return unread.ok && unread.value.length === 0;
      }, 120_000);
    };
    await send(WARM_UP);
    const before = {
      relay: await cpuMs(pids.relay),
      runner: await cpuMs(pids.runner),
      echo: await cpuMs(pids.echo),
    };
    const started = performance.now();
    await send(COUNT);
    figures.end_to_end_per_s = COUNT / ((performance.now() - started) / 1_000);
    const unread = await http.listUnread(id, { limit: 1_000 });
    figures.lost = unread.ok ? unread.value.length : NaN;
    // The last reports go out after the last ack.
    await until("the last report", async () => {
      const receipt = await http.receipt(sent);
      return receipt.ok && receipt.value.recipients[0]!.reports.some(({ stage }) => stage === "done");
    });
    let total = 0;
    for (const name of ["relay", "runner", "echo"] as const) {
      const us = (await cpuMs(pids[name]) - before[name]) / COUNT * 1_000;
      figures[`cpu_us_${name}`] = us;
      total += us;
    }
    figures.cpu_us_a_message = total;
    await bus.close();
    await stop(agent);
  });
  return figures;
}

/** Resolves once the message's recipient has read it. */
async function untilRead(http: RelayHttpClient, id: number): Promise<void> {
  for (let after = 0;;) {
    const receipt = await http.receipt(id, { after, waitMs: 30_000 });
    if (!receipt.ok) throw new Error(`no receipt of ${id}: ${receipt.kind}`);
    if (receipt.value.version === after) throw new Error(`waited in vain for the ack of ${id}`);
    if (receipt.value.recipients[0]!.read) return;
    after = receipt.value.version;
  }
}
