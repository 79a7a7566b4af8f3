import { TestAgent } from "../support/relay_world.ts";
import { until } from "../support/temp.ts";
import { quantile } from "./_figures.ts";
import { childrenOf, processFigures } from "./_proc.ts";
import { pour, sender, withRelayProcess } from "./_relay.ts";

const STORED = 100_000;
const AGENTS = 1_000;
const MESSAGES = 2_000;

export const runs = 1;

/** A relay with 100,000 stored messages and 1,000 connected agents: what it holds, accepts and how soon it pushes. */
export async function run(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  await withRelayProcess(async ({ home, url, token }) => {
    const relays = await childrenOf(Deno.pid);
    const relay = relays.find(({ args }) => args.includes(`relay --port ${home.port}`))!;
    const bus = await sender(url, token, "bench");
    let began = performance.now();
    await pour(bus, { from: "bench", to: "nobody-yet", count: STORED, window: 512, body: "x".repeat(256) });
    figures.store_per_s = STORED / ((performance.now() - began) / 1_000);
    began = performance.now();
    const agents = Array.from({ length: AGENTS }, (_, i) => new TestAgent(url, `agent-${i}`, { token }));
    for (const { bus: each } of agents) each.connect();
    await until(
      "every agent",
      () => agents.every(({ bus: each }) => each.transportState.state === "registered"),
      120_000,
    );
    figures.register_per_s = AGENTS / ((performance.now() - began) / 1_000);
    const [memory] = await processFigures([relay.pid]);
    figures.relay_pss_mib = memory!.pssKib / 1024;
    const latencies: number[] = [];
    const cpuBefore = memory!.cpuMs;
    for (let i = 0; i < MESSAGES; i++) {
      const agent = agents[i % AGENTS]!;
      const at = performance.now();
      const sent = await bus.send({ from: "bench", to: agent.id, body: `m${i}` });
      if (!sent.ok) throw new Error("not accepted");
      await agent.untilGot(`m${i}`);
      latencies.push(performance.now() - at);
    }
    figures.send_to_push_p50_ms = quantile(latencies, 0.5);
    figures.send_to_push_p99_ms = quantile(latencies, 0.99);
    figures.cpu_us_per_message = ((await processFigures([relay.pid]))[0]!.cpuMs - cpuBefore) / MESSAGES *
      1_000;
    await Promise.all([...agents.map(({ bus: each }) => each.close()), bus.close()]);
  });
  return figures;
}
