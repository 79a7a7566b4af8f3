/** The value below which a share of the values lies (0.5 is the median of an odd number). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** Runs each measurement `rounds` times in turn, so that a busy moment hits all alike, and returns their medians. */
export async function inTurn<Name extends string>(
  rounds: number,
  measurements: Record<Name, () => Promise<number>>,
): Promise<Record<Name, number>> {
  const values = {} as Record<Name, number[]>;
  const names = Object.keys(measurements) as Name[];
  for (const name of names) values[name] = [];
  for (let round = 0; round < rounds; round++) {
    for (const name of names) values[name].push(await measurements[name]());
  }
  return Object.fromEntries(names.map((name) => [name, quantile(values[name], 0.5)])) as Record<Name, number>;
}

/** Milliseconds that a command takes from start to end; throws when it fails. */
export async function commandMs(command: Deno.Command): Promise<number> {
  const began = performance.now();
  const { code, stderr } = await command.output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return performance.now() - began;
}

/** `fdatasync` calls that are measured. */
const SYNCS = 200;

/**
 * p50 and p99 of `fdatasync` after appending 256 bytes, in milliseconds, where the bench keeps its files. With
 * `perSecond` one is taken at that pace: after 10 ms of rest it costs more than one in a row (disk and processor have to
 * wake up), and a commit at 100 messages/s is of that kind.
 */
export async function fdatasyncMs(
  dir: string,
  perSecond = Infinity,
): Promise<{ p50: number; p99: number }> {
  const file = Deno.openSync(`${dir}/fdatasync`, { create: true, append: true });
  const bytes = new Uint8Array(256);
  const times: number[] = [];
  try {
    for (let i = 0; i < SYNCS; i++) {
      if (perSecond !== Infinity) await new Promise((resolve) => setTimeout(resolve, 1_000 / perSecond));
      file.writeSync(bytes);
      const began = performance.now();
      file.syncDataSync();
      times.push(performance.now() - began);
    }
  } finally {
    file.close();
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}
