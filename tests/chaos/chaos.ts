import { join } from "@std/path";
import { SeededRandom } from "../support/random.ts";
import { pause } from "../support/temp.ts";
import type { ProviderName } from "./agent.ts";
import { check, type Verdict } from "./checker.ts";
import { checkHouse } from "./house.ts";
import { Nemesis } from "./nemesis.ts";
import { World } from "./world.ts";

/** How big a run is. */
export interface ChaosOptions {
  seed: number;
  faults: number;
  /** Worlds side by side. */
  worlds: number;
  /** Faults between two heals of a world. */
  perRound: number;
  /** Mean time between faults of a world. */
  pauseMs: number;
  /** Longest time that something stays broken. */
  maxMs: number;
  /** Messages per second and world. */
  rate: number;
  dir: string;
  providers: readonly ProviderName[];
  say(text: string): void;
}

/** Everything must be quiet so long after the last fault was mended (R-2). */
const QUIET_MS = 60_000;

/** No runner and no relay may have more memory than this (I11). */
const MEMORY_KIB = 512 * 1024;
/** How often memory and status are looked at. */
const WATCH_MS = 2_000;

/** One JSON line per run; names as in the contract. Times in milliseconds. */
export interface ChaosReport {
  ok: boolean;
  seed: number;
  /** One per world. */
  seeds: number[];
  faults: number;
  by_kind: Record<string, number>;
  posted: number;
  acked: number;
  lost: number;
  stuck: number;
  /** Messages that a model was given more than once, times beyond the first. */
  dup: number;
  /** Those of them that no crash and no cut turn explains, and those that did not say that they are a repeat. */
  dup_excess: number;
  dup_untagged: number;
  /** Work that two agents did though the lease of the first had not lapsed, and though it had. */
  rivalDup: number;
  rivalDupExplained: number;
  dead: number;
  early_acks: number;
  orphans: number;
  contradictions: number;
  kills: number;
  kills_in_flight: number;
  max_drain_ms: number;
  max_quiet_ms: number;
  max_rss_kib: Record<string, number>;
  seconds: number;
  skipped: string[];
  problems: string[];
}

/** Runs several worlds with faults and returns what became of them. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const began = performance.now();
  const random = new SeededRandom(options.seed);
  const seeds = Array.from({ length: options.worlds }, () => random.int(1, 2 ** 31));
  const skipped = new Set<string>();
  const runs = await Promise.all(
    seeds.map((seed, index) =>
      runWorld(options, {
        seed,
        name: `w${index}`,
        faults: Math.ceil(options.faults / options.worlds),
        skipped,
      })
    ),
  );
  const sum = (key: keyof Omit<Verdict, "problems">) =>
    runs.reduce((total, run) => total + run.verdict[key], 0);
  const byKind: Record<string, number> = {};
  for (const run of runs) {
    for (const [kind, count] of run.fired) byKind[kind] = (byKind[kind] ?? 0) + count;
  }
  const largest = Math.max(...runs.flatMap((run) => Object.values(run.maxRssKiB)));
  const problems = runs.flatMap((run) => run.verdict.problems);
  if (largest > MEMORY_KIB) problems.push(`a process had ${largest} KiB of memory`);
  return {
    ok: problems.length === 0,
    seed: options.seed,
    seeds,
    faults: Object.values(byKind).reduce((total, count) => total + count, 0),
    by_kind: Object.fromEntries(Object.entries(byKind).sort()),
    posted: sum("posted"),
    acked: sum("acked"),
    lost: sum("lost"),
    stuck: sum("stuck"),
    dup: sum("dup"),
    dup_excess: sum("excessDup"),
    dup_untagged: sum("untagged"),
    rivalDup: sum("rivalDup"),
    rivalDupExplained: sum("rivalDupExplained"),
    dead: sum("dead"),
    early_acks: sum("early"),
    orphans: runs.reduce((total, run) => total + run.orphans.length, 0),
    contradictions: runs.reduce((total, run) => total + run.contradictions, 0),
    kills: sum("kills"),
    kills_in_flight: sum("killsInFlight"),
    max_drain_ms: Math.max(...runs.map((run) => run.verdict.maxDrainMs)),
    max_quiet_ms: Math.round(Math.max(...runs.map((run) => run.maxQuietMs))),
    max_rss_kib: Object.fromEntries(
      ["relay", ...options.providers].map((
        name,
      ) => [name, Math.max(...runs.map((run) => run.maxRssKiB[name] ?? 0))]),
    ),
    seconds: Math.round((performance.now() - began) / 1000),
    skipped: [...skipped],
    problems: problems.slice(0, 50),
  };
}

interface WorldRun {
  verdict: Verdict;
  fired: Map<string, number>;
  orphans: string[];
  contradictions: number;
  maxQuietMs: number;
  maxRssKiB: Record<string, number>;
}

async function runWorld(
  options: ChaosOptions,
  { seed, name, faults, skipped }: { seed: number; name: string; faults: number; skipped: Set<string> },
): Promise<WorldRun> {
  const random = new SeededRandom(seed);
  const dir = join(options.dir, name);
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const world = new World({
    dir,
    name,
    seed: random.int(1, 2 ** 31),
    providers: options.providers,
    leaseMs: random.pick([60_000, 60_000, 15_000]),
    smallDiskKiB: 4_096,
    openFiles: 160,
  });
  const nemesis = new Nemesis(world, { random: random.fork(), maxMs: options.maxMs });
  let contradictions = 0;
  let maxQuietMs = 0;
  const over = new AbortController();
  const watching = (async () => {
    for (await pause(WATCH_MS, over.signal); !over.signal.aborted; await pause(WATCH_MS, over.signal)) {
      if (world.relay === undefined || world.http === undefined) continue;
      await world.sampleMemory();
      const found = await world.contradictions();
      contradictions += found.length;
      world.problems.push(...found);
    }
  })();
  try {
    await world.begin();
    if (!world.agents.some((agent) => agent.mounted)) {
      skipped.add("disk: a file system cannot be mounted here");
    }
    while (nemesis.total < faults) {
      world.poster.begin(options.rate);
      await nemesis.round(Math.min(options.perRound, faults - nemesis.total), options.pauseMs);
      await world.poster.pause();
      for (const agent of world.agents) {
        agent.proxy.set({ kind: "none" });
        agent.behave();
      }
      const tookMs = await quiet(world);
      maxQuietMs = Math.max(maxQuietMs, tookMs);
      options.say(
        `${name}: ${nemesis.total} faults, quiet after ${Math.round(tookMs)} ms, ${
          world.problems.at(-1) ?? "no problem"
        }`,
      );
      if (world.problems.length > 0) break;
    }
    await world.end();
    const verdict = check(world, nemesis.crashes);
    verdict.problems.push(...await checkHouse(world));
    for (const orphan of world.orphans) verdict.problems.push(`orphan: ${orphan}`);
    return {
      verdict,
      fired: nemesis.fired,
      orphans: world.orphans,
      contradictions,
      maxQuietMs,
      maxRssKiB: world.maxRssKiB,
    };
  } finally {
    over.abort();
    await watching;
    await world.dispose();
  }
}

/** Waits until every message has ended and every agent is ready; says what has not when that takes too long. */
async function quiet(world: World): Promise<number> {
  const began = performance.now();
  let open: { agent: string; ids: number[] }[] | null = null;
  let calm = 0;
  let ready = false;
  while (performance.now() - began < QUIET_MS) {
    const resolved = await world.poster.resolve();
    open = await world.openMail();
    ready = await world.ready();
    calm = resolved && world.rival.idle && ready && open !== null && open.length === 0 ? calm + 1 : 0;
    if (calm >= 2) return performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  world.problems.push(
    `not quiet after ${QUIET_MS} ms: ${JSON.stringify(open)}, ${
      ready ? "all ready" : `not ready: ${await world.cards()}`
    }`,
  );
  return performance.now() - began;
}
