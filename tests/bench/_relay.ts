import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { RelayBusClient, RelayHttpClient } from "../../lib/sdk/mod.ts";
import { type RunningCommand, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** A home with `runner relay` as a process of its own. */
export async function withRelayProcess(
  work: (relay: { home: TestHome; url: string; token: string; http: RelayHttpClient }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const process = home.start(["relay", "--port", String(home.port), "--json"]);
    await until("the relay", () => process.out.includes("url"));
    const url = `http://127.0.0.1:${home.port}`;
    const token = Deno.readTextFileSync(`${home.home}/relay.token`).trim();
    await work({ home, url, token, http: new RelayHttpClient({ url, token }) });
    await stop(process);
  });
}

/** Ends a command in order. */
export async function stop(command: RunningCommand): Promise<void> {
  command.kill("SIGTERM");
  await command.ended();
}

/** A connected sender on the bus. */
export async function sender(url: string, token: string, id: string): Promise<RelayBusClient> {
  const bus = new RelayBusClient({
    url,
    token,
    registration: {
      role: "integration",
      componentId: id,
      agentId: id,
      instanceId: crypto.randomUUID(),
      capabilities: [],
      tags: [],
      machine: "bench",
      meta: {},
    },
    events: {},
    clock: systemClock,
    random: Math.random,
    log: noLog,
  });
  bus.connect();
  await until(`registration of ${id}`, () => bus.transportState.state === "registered");
  return bus;
}

/** Sends `count` messages with at most `window` unanswered at a time; throws when one is refused. */
export async function pour(
  bus: RelayBusClient,
  options: { from: string; to: string; count: number; window: number; body: string },
): Promise<void> {
  const { from, to, count, window, body } = options;
  let next = 0;
  const lane = async () => {
    while (next++ < count) {
      const sent = await bus.send({ from, to, body, queue: true });
      if (!sent.ok) throw new Error(`not accepted: ${sent.kind}`);
    }
  };
  await Promise.all(Array.from({ length: window }, lane));
}
