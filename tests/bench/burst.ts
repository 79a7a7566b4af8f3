import { until } from "../support/temp.ts";
import { pour, sender, stop, withRelayProcess } from "./_relay.ts";

const COUNT = 10_000;

/** 10,000 messages to one echo agent, from the first send to the last ack. */
export async function run(): Promise<Record<string, number>> {
  let perSecond = 0;
  let lost = 0;
  await withRelayProcess(async ({ home, url, token, http }) => {
    const agent = home.start(["echo", "--headless", "--label", "sink"]);
    const { id } = await home.untilReady("sink") as { id: string };
    const bus = await sender(url, token, "burst");
    const started = performance.now();
    await pour(bus, { from: "burst", to: id, count: COUNT, window: 1_000, body: "hello" });
    await until("the last ack", async () => {
      const unread = await http.listUnread(id, { limit: 1 });
      return unread.ok && unread.value.length === 0;
    }, 120_000);
    perSecond = COUNT / ((performance.now() - started) / 1_000);
    const unread = await http.listUnread(id, { limit: 1_000 });
    lost = unread.ok ? unread.value.length : NaN;
    await bus.close();
    await stop(agent);
  });
  return { end_to_end_per_s: perSecond, lost };
}
