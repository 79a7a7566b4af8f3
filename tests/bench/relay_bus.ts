import { pour, sender, withRelayProcess } from "./_relay.ts";

const SENDERS = 8;
const EACH = 2_500;

/** Frames of 1 KiB from 8 senders, accepted (committed with synchronous=FULL) per second. */
export async function run(): Promise<Record<string, number>> {
  let accepted = 0;
  await withRelayProcess(async ({ url, token }) => {
    const ids = Array.from({ length: SENDERS }, (_, i) => `sender-${i}`);
    const buses = await Promise.all(ids.map((id) => sender(url, token, id)));
    const body = "x".repeat(1_024);
    const started = performance.now();
    await Promise.all(
      buses.map((bus, i) => pour(bus, { from: ids[i]!, to: "sink", count: EACH, window: 256, body })),
    );
    accepted = SENDERS * EACH / ((performance.now() - started) / 1_000);
    await Promise.all(buses.map((bus) => bus.close()));
  });
  return { accepted_per_s: accepted };
}
