/**
 * `deno task bench [NAME ...]`: every timing and throughput figure, one JSON line each. Nothing here can fail for being
 * slow; `docs/performance.md` says how to read the figures and which bar each one has.
 */
import { dirname, fromFileUrl } from "@std/path";

/** What a bench module exports: measures once and returns flat figures with their units in the names. */
export interface Bench {
  /** How often it is repeated; the figure that is printed is the median of all runs. Default 5. */
  runs?: number;
  run(): Promise<Record<string, number>>;
}

const HERE = dirname(fromFileUrl(import.meta.url));
const KEPT_OUT = new Set(["main.ts"]);

function names(): string[] {
  return [...Deno.readDirSync(HERE)].flatMap(({ name }) =>
    name.endsWith(".ts") && !name.startsWith("_") && !KEPT_OUT.has(name) ? [name.slice(0, -3)] : []
  ).sort();
}

/** The value in the middle; of an even number, the upper one of the two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function print(text: string, to: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(text + "\n"));
}

if (import.meta.main) {
  const unknown = Deno.args.filter((name) => !names().includes(name));
  if (unknown.length > 0) {
    print(`usage: deno task bench [${names().join("|")}]...`, Deno.stderr);
    Deno.exit(2);
  }
  for (const name of Deno.args.length > 0 ? Deno.args : names()) {
    const bench = await import(`./${name}.ts`) as Bench;
    const runs: Record<string, number>[] = [];
    for (let run = 0; run < (bench.runs ?? 5); run++) runs.push(await bench.run());
    const figures = Object.fromEntries(
      Object.keys(runs[0]!).map((
        key,
      ) => [key, Number(median(runs.map((each) => each[key]!)).toPrecision(4))]),
    );
    print(JSON.stringify({ bench: name, runs: runs.length, ...figures }));
  }
}
