/**
 * `deno task sim [--seeds N] [--from S]` runs seeds; `--seed S` runs one and tells its story, with `--without` leaving
 * out faults and messages (the line that a failed run prints has all of it).
 */
import { taskArgs } from "../support/task_args.ts";
import { missing } from "./coverage.ts";
import { FULL_COVERAGE_SEEDS } from "./coverage.ts";
import { INVARIANTS } from "./invariants.ts";
import { NOTHING, type Without } from "./plan.ts";
import { campaign, figures } from "./report.ts";
import { runSeed } from "./run.ts";
import { shrink } from "./shrink.ts";

function print(line: string): void {
  const bytes = new TextEncoder().encode(line + "\n");
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function commit(): Promise<string> {
  const { stdout } = await new Deno.Command("git", {
    args: ["rev-parse", "--short=12", "HEAD"],
    stderr: "null",
  })
    .output();
  return new TextDecoder().decode(stdout).trim();
}

/** Reads `cut#1,m3,...`: names of faults, and `m` with the number of a message. */
function parseWithout(text: string | undefined): Without {
  if (text === undefined) return NOTHING;
  const parts = text.split(",").filter((part) => part !== "");
  const isPosting = (part: string) => /^m\d+$/.test(part);
  return {
    faults: new Set(parts.filter((part) => !isPosting(part))),
    postings: new Set(parts.filter(isPosting).map((part) => Number(part.slice(1)))),
  };
}

function withoutText({ faults, postings }: Without): string {
  return [...faults, ...[...postings].map((index) => `m${index}`)].join(",");
}

async function tellSeed(seed: number, without: Without): Promise<boolean> {
  const { world, violations, hash } = await runSeed(seed, { without, tell: true });
  for (const line of world.oracle.story ?? []) print(line);
  const { postings, timed: _timed, ...plan } = world.plan;
  print(JSON.stringify({ ...plan, postings: postings.length, events: world.events, hash }));
  print(`faults: ${world.faults.names.join(" ") || "none"}`);
  for (const { id, what, at } of violations) {
    print(`${id} at ${Math.round(at)} ms: ${what} (${INVARIANTS[id]})`);
  }
  return violations.length === 0;
}

async function runRange(from: number, count: number): Promise<boolean> {
  const result = await campaign(
    from,
    count,
    (done) => Deno.stderr.writeSync(new TextEncoder().encode(`\r${done}`)),
  );
  Deno.stderr.writeSync(new TextEncoder().encode("\r"));
  print(JSON.stringify(figures(result), null, 1));
  const kinds = new Map<string, typeof result.failures>();
  for (const failure of result.failures) {
    const kind = `${failure.id} ${failure.what.replace(/store-\d+\/\d+/g, "M").replace(/\d+/g, "N")}`;
    kinds.set(kind, [...kinds.get(kind) ?? [], failure]);
  }
  const at = await commit();
  for (const [kind, failures] of [...kinds].slice(0, 5)) {
    print(`${failures.length} x ${kind}: seeds ${failures.slice(0, 10).map(({ seed }) => seed).join(", ")}`);
    const { seed, id } = failures[0]!;
    const { without, runs, result: { world } } = await shrink(seed, id);
    print(
      `  least found in ${runs} runs: ${
        world.faults.names.join(" ") || "no fault"
      }, ${world.plan.postings.length} messages`,
    );
    const flag = withoutText(without);
    print(
      `  SIM_SEED=${seed} SIM_COMMIT=${at} deno task sim --seed ${seed}${
        flag === "" ? "" : ` --without ${flag}`
      }`,
    );
  }
  for (const seed of result.unsteady) print(`seed ${seed} went two ways`);
  const lacks = count >= FULL_COVERAGE_SEEDS ? missing(result.tally) : [];
  for (const line of lacks) print(line);
  return result.failures.length === 0 && result.unsteady.length === 0 && lacks.length === 0;
}

if (import.meta.main) {
  const args = taskArgs(Deno.args, { string: ["seeds", "from", "seed", "without"] });
  const seed = args.seed ?? Deno.env.get("SIM_SEED");
  const ok = seed !== undefined
    ? await tellSeed(Number(seed), parseWithout(args.without as string | undefined))
    : await runRange(Number(args.from ?? 1), Number(args.seeds ?? 1_000));
  Deno.exit(ok ? 0 : 1);
}
