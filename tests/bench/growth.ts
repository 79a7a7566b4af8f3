import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { RelayBusClient } from "../../lib/sdk/mod.ts";
import { until } from "../support/temp.ts";
import { hearEvents } from "./_events.ts";
import { childrenOf, cpuMs } from "./_proc.ts";
import { sender, stop, withRelayProcess } from "./_relay.ts";

const DEPTHS = [10, 100, 1_000, 10_000];
const AGENTS = [1, 10, 100, 1_000];
/** Senders at a time. */
const LANES = 64;
/**
 * How messages come to the agents. What is compared must differ in the number of agents only, and messages of one agent
 * that come together share frames: so each comes `alone`, or `together` as many at a time to one agent, then to the next,
 * however many agents there are. `scattered`, each of those that come together is for another agent, as far as there are
 * others: they share frames with one agent and do not with many.
 */
const ARRIVALS = {
  alone: { lanes: 1, together: 1, count: 4_000 },
  together: { lanes: LANES, together: LANES, count: 64_000 },
  scattered: { lanes: LANES, together: 1, count: 10_000 },
} as const;

export const runs = 3;

/**
 * Processor time per message, which unlike the time on the wall does not depend on who else uses the machine: of relay,
 * runner and agent together while so many messages are queued, and of the relay while so many agents are connected.
 */
export async function run(): Promise<Record<string, number>> {
  const figures = { ...await byDepth(), ...await byAgents() };
  figures.depth_10000_x_10 = figures.cpu_us_at_depth_10000! / figures.cpu_us_at_depth_10!;
  figures.depth_10000_x_1000 = figures.cpu_us_at_depth_10000! / figures.cpu_us_at_depth_1000!;
  for (const name of Object.keys(ARRIVALS)) {
    figures[`agents_1000_x_1_${name}`] = figures[`cpu_us_at_agents_1000_${name}`]! /
      figures[`cpu_us_at_agents_1_${name}`]!;
  }
  return figures;
}

async function byDepth(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  for (const depth of DEPTHS) {
    await withRelayProcess(async ({ home, url, token }) => {
      const agent = home.start(["echo", "--headless", "--label", "sink"]);
      const { id } = await home.untilReady("sink") as { id: string };
      const relays = await childrenOf(Deno.pid);
      const relay = relays.find(({ args }) => args.includes(`relay --port ${home.port}`))!;
      const children = await childrenOf(agent.pid);
      const echo = children.find(({ args }) => args.includes("__echo-agent"))!;
      const pids = [relay.pid, agent.pid, echo.pid];
      let acked = 0;
      const waiting: (() => void)[] = [];
      const events = await hearEvents(url, token, ({ event, data }) => {
        if (event !== "message.read") return;
        acked += (data.ids as number[]).length;
        for (const go of waiting.splice(0)) go();
      });
      const bus = await sender(url, token, "bench");
      const count = Math.max(2_000, depth * 1.2);
      const pour = async (total: number) => {
        const goal = acked + total;
        let sent = 0;
        const base = acked;
        const lane = async () => {
          while (sent < total) {
            if (sent - (acked - base) >= depth) {
              await new Promise<void>((resolve) => waiting.push(resolve));
              continue;
            }
            sent++;
            const { ok } = await bus.send({ from: "bench", to: id, body: "hello" });
            if (!ok) throw new Error("not accepted");
          }
        };
        await Promise.all(Array.from({ length: Math.min(LANES, depth) }, lane));
        await until("every ack", () => acked >= goal, 120_000);
      };
      await pour(500);
      const before = await total(pids);
      await pour(count);
      figures[`cpu_us_at_depth_${depth}`] = (await total(pids) - before) / count * 1_000;
      await events.close();
      await bus.close();
      await stop(agent);
    });
  }
  return figures;
}

async function byAgents(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  for (const agents of AGENTS) {
    await withRelayProcess(async ({ home, url, token }) => {
      const relays = await childrenOf(Deno.pid);
      const relay = relays.find(({ args }) => args.includes(`relay --port ${home.port}`))!;
      let read = 0;
      const clients: RelayBusClient[] = [];
      for (let i = 0; i < agents; i++) {
        const id = `agent-${i}`;
        const client = new RelayBusClient({
          url,
          token,
          registration: {
            role: "provider",
            componentId: id,
            agentId: id,
            instanceId: crypto.randomUUID(),
            capabilities: [],
            tags: [],
            machine: "bench",
            meta: {},
          },
          events: {
            message: (message) => {
              void client.markRead([message.id]).then(({ ok }) => {
                if (ok) read++;
              });
            },
          },
          clock: systemClock,
          random: Math.random,
          log: noLog,
          // Those of a thousand agents are no cost of a message. The relay takes who is silent for a minute for gone.
          heartbeatIntervalMs: 45_000,
        });
        client.connect();
        clients.push(client);
      }
      await until(
        "every agent",
        () => clients.every(({ transportState }) => transportState.state === "registered"),
        60_000,
      );
      const bus = await sender(url, token, "bench");
      const pour = async (total: number, lanes: number, together: number) => {
        const goal = read + total;
        let next = 0;
        const lane = async () => {
          while (next < total) {
            const to = `agent-${Math.floor(next++ / together) % agents}`;
            const { ok } = await bus.send({ from: "bench", to, body: "hello" });
            if (!ok) throw new Error("not accepted");
          }
        };
        await Promise.all(Array.from({ length: lanes }, lane));
        await until("every read", () => read >= goal, 120_000);
      };
      for (const [name, { lanes, together, count }] of Object.entries(ARRIVALS)) {
        await pour(2_000, lanes, together);
        const before = await cpuMs(relay.pid);
        await pour(count, lanes, together);
        figures[`cpu_us_at_agents_${agents}_${name}`] = (await cpuMs(relay.pid) - before) / count * 1_000;
      }
      await Promise.all([...clients, bus].map((each) => each.close()));
    });
  }
  return figures;
}

async function total(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map(cpuMs));
  return each.reduce((sum, ms) => sum + ms, 0);
}
