import { dirname, fromFileUrl, join } from "@std/path";
import { CLAIM_MUTANTS } from "./claims.ts";
import { MESSAGE_MUTANTS } from "./messages.ts";
import { applyMutant, type Mutant } from "./patch.ts";
import { SUPERVISION_MUTANTS } from "./supervision.ts";

/** Every defect that the simulation has to find. */
export const MUTANTS: readonly Mutant[] = [...MESSAGE_MUTANTS, ...CLAIM_MUTANTS, ...SUPERVISION_MUTANTS];

/** A defect is caught within this many seeds or it counts as missed. */
export const MUTANT_SEEDS = 2_000;

const ROOT = dirname(dirname(dirname(dirname(fromFileUrl(import.meta.url)))));
/** What a run of the simulation needs; everything else stays out of the copies. */
const NEEDED = ["deno.json", "deno.lock", "lib", "tests/sim"];

/** What became of a defect. `caught`: the first seed that failed broke the promise that the mutant names. */
export interface Hunt {
  mutant: Mutant;
  outcome:
    | { is: "caught"; seed: number; also: string[] }
    | { is: "caught by others"; seed: number; ids: string[]; what: string }
    | { is: "missed" }
    | { is: "broken"; why: string };
  ms: number;
}

/** Hunts defects, `workers` at a time, each in a process and a copy of its own. */
export async function hunt(
  mutants: readonly Mutant[],
  options: { workers?: number; done?(hunt: Hunt): void } = {},
): Promise<Hunt[]> {
  const waiting = [...mutants];
  const hunts: Hunt[] = [];
  const dir = await Deno.makeTempDir({ prefix: "mutants-" });
  try {
    const worker = async (number: number) => {
      const copy = join(dir, String(number));
      for (const path of NEEDED) await copyTree(join(ROOT, path), join(copy, path));
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const began = performance.now();
        const outcome = await huntOne(mutant, copy);
        const done = { mutant, outcome, ms: performance.now() - began };
        hunts.push(done);
        options.done?.(done);
      }
    };
    await Promise.all(Array.from({ length: options.workers ?? 2 }, (_, number) => worker(number)));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  return hunts.sort((a, b) => mutants.indexOf(a.mutant) - mutants.indexOf(b.mutant));
}

async function huntOne(mutant: Mutant, copy: string): Promise<Hunt["outcome"]> {
  const original = await Deno.readTextFile(join(ROOT, mutant.file));
  await Deno.writeTextFile(join(copy, mutant.file), applyMutant(mutant, original));
  try {
    const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        "--no-check",
        "--frozen",
        "--allow-env",
        "tests/sim/mutants/hunt.ts",
        String(MUTANT_SEEDS),
      ],
      cwd: copy,
      stdout: "piped",
      stderr: "piped",
    }).output();
    if (code !== 0) return { is: "broken", why: new TextDecoder().decode(stderr).slice(0, 500) };
    return judge(mutant, JSON.parse(new TextDecoder().decode(stdout)));
  } finally {
    await Deno.writeTextFile(join(copy, mutant.file), original);
  }
}

function judge(mutant: Mutant, found: { seed: number; ids: string[]; what: string } | null): Hunt["outcome"] {
  if (found === null) return { is: "missed" };
  const { seed, ids, what } = found;
  // A throw inside the runner is a crash of the mutant, not a promise it broke.
  if (ids.includes("I0")) return { is: "broken", why: what };
  if (!ids.includes(mutant.breaks)) return { is: "caught by others", seed, ids, what };
  return { is: "caught", seed, also: ids.filter((id) => id !== mutant.breaks) };
}

async function copyTree(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) {
    await Deno.mkdir(dirname(to), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copyTree(join(from, name), join(to, name));
}
