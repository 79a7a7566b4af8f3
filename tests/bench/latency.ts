import { withTempDir } from "../support/temp.ts";
import { until } from "../support/temp.ts";
import { hearEvents } from "./_events.ts";
import { fdatasyncMs, quantile } from "./_figures.ts";
import { sender, stop, withRelayProcess } from "./_relay.ts";

/** Messages per second, and how many are sent at that rate. */
const RATES: readonly [number, number][] = [[100, 1_000], [1_000, 2_000], [1, 10]];
/** The first ones warm the code up: what runs for days is compiled by the runtime, what ran a few hundred times is not. */
const WARM_UP = 2_000;

export const runs = 3;

/**
 * From the moment a sender hears that the relay accepted a message until somebody outside hears that it was handed to the
 * agent and that it was acked. Relay, runner and echo agent are processes of their own, the journal is on disk. Beside
 * it what one `fdatasync` costs in the same run, in a row and at the pace of the messages.
 */
export async function run(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  await withTempDir(async (dir) => {
    figures.fdatasync_p50_ms = (await fdatasyncMs(dir)).p50;
    const { p50, p99 } = await fdatasyncMs(dir, 100);
    figures.fdatasync_p50_ms_at_100 = p50;
    figures.fdatasync_p99_ms_at_100 = p99;
  });
  await withRelayProcess(async ({ home, url, token }) => {
    const agent = home.start(["echo", "--headless", "--label", "sink"]);
    const { id } = await home.untilReady("sink") as { id: string };
    const bus = await sender(url, token, "bench");
    const handed = new Map<number, number>();
    const acked = new Map<number, number>();
    const events = await hearEvents(url, token, ({ event, data, at }) => {
      if (event === "message.read") { for (const each of data.ids as number[]) acked.set(each, at); }
      if (event !== "receipt") return;
      for (const { stage, messageId } of data.reports as { stage: string; messageId: number }[]) {
        if (stage === "handed") handed.set(messageId, at);
      }
    });
    const atRate = async (perSecond: number, count: number) => {
      const accepted = new Map<number, number>();
      const pending: Promise<void>[] = [];
      const began = performance.now();
      for (let i = 0; i < count; i++) {
        const due = began + i / perSecond * 1_000;
        const wait = due - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        pending.push(
          bus.send({ from: "bench", to: id, body: "hello" }).then((sent) => {
            if (!sent.ok) throw new Error(`not accepted: ${sent.kind}`);
            accepted.set(sent.value.message.id, performance.now());
          }),
        );
      }
      await Promise.all(pending);
      await until(
        "every ack",
        () => [...accepted.keys()].every((each) => acked.has(each) && handed.has(each)),
      );
      const after = (when: Map<number, number>) =>
        [...accepted].map(([each, at]) => Math.max(0, when.get(each)! - at));
      return { handed: after(handed), acked: after(acked) };
    };
    await atRate(500, WARM_UP);
    for (const [rate, count] of RATES) {
      const took = await atRate(rate, count);
      for (const stage of ["handed", "acked"] as const) {
        figures[`${stage}_p50_ms_at_${rate}`] = quantile(took[stage], 0.5);
        figures[`${stage}_p99_ms_at_${rate}`] = quantile(took[stage], 0.99);
      }
    }
    figures.acked_p50_x_fdatasync_at_100 = figures.acked_p50_ms_at_100! / figures.fdatasync_p50_ms!;
    figures.acked_p50_x_fdatasync_at_pace = figures.acked_p50_ms_at_100! / figures.fdatasync_p50_ms_at_100!;
    await events.close();
    await bus.close();
    await stop(agent);
  });
  return figures;
}
