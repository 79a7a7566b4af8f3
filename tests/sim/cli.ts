import { runSeed, runSeeds } from "./run.ts";
import { Tally } from "./tally.ts";
import { parseArgs } from "@std/cli";

/** `deno task sim [--seeds N] [--from S] [--seed S]` */
if (import.meta.main) {
  const args = parseArgs(Deno.args, { string: ["seeds", "from", "seed"], boolean: ["story"] });
  const print = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
  if (args.seed !== undefined) {
    const result = await runSeed(Number(args.seed), { tell: true });
    for (const line of result.world.oracle.story ?? []) print(line);
    const { plan, faults } = result.world;
    const { postings, timed: _timed, ...shown } = plan;
    print(
      JSON.stringify({ ...shown, postings: postings.length, events: result.world.events, hash: result.hash }),
    );
    print(`faults: ${faults.names.join(" ")}`);
    for (const { id, what, at } of result.violations) print(`${id} at ${Math.round(at)} ms: ${what}`);
  } else {
    const from = Number(args.from ?? 1);
    const count = Number(args.seeds ?? 1000);
    const total = new Tally();
    const byId = new Map<string, number[]>();
    const began = performance.now();
    await runSeeds(Array.from({ length: count }, (_, i) => from + i), (result) => {
      total.add(result.world.oracle.tally);
      const v = result.violations[0];
      if (v) {
        const k = `${v.id} ${v.what.replace(/store-\d+\/\d+/g, "M").replace(/\d+/g, "N").slice(0, 90)}`;
        byId.set(k, [...(byId.get(k) ?? []), result.seed]);
      }
    });
    const s = (performance.now() - began) / 1000;
    for (const [k, seeds] of [...byId].sort((a, b) => b[1].length - a[1].length)) {
      print(`${seeds.length} ${k}: ${seeds.slice(0, 8)}`);
    }
    print(JSON.stringify(total, (_, v) => v instanceof Map ? Object.fromEntries(v) : v));
    print(
      `${count} seeds in ${s.toFixed(2)} s = ${(count / s).toFixed(0)}/s, ${
        (total.events / count).toFixed(0)
      } events/seed`,
    );
  }
}
