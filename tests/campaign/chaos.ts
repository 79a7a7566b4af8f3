/** `deno task campaign chaos [--faults N] [--seed S] [--worlds N]`: faults on real processes, 2,000 of them by default. */
import { join } from "@std/path";
import { runChaos } from "../chaos/chaos.ts";
import { measureDetection, measureWake } from "../chaos/detect.ts";
import { withWorld } from "../chaos/with_world.ts";
import { taskArgs } from "../support/task_args.ts";
import type { CampaignReport } from "./main.ts";

/** Of the kills of runners and agents, so many must have found a message in flight. */
const IN_FLIGHT_SHARE = 0.15;
/** Lines that swallow everything, for the time it takes to notice, and the agents they belong to. */
const DEAD_LINES = 50;
const AGENTS = 5;
/** A sleep of all runners, long enough for the relay to have given them up, and the promise for after it. */
const SLEEP_MS = 60_000;
const WAKE_MS = 10_000;
/** Kinds that have to be there in a long run. */
const KINDS = 40;

/** Runs the campaign and holds the work it did against what makes it worth something. */
export async function run(args: readonly string[]): Promise<CampaignReport> {
  const flags = taskArgs(args, { string: ["faults", "seed", "worlds"] });
  const number = (value: unknown, preset: number) => value === undefined ? preset : Number(value);
  const faults = number(flags.faults, 2_000);
  const dir = Deno.makeTempDirSync({ prefix: "runner-chaos-" });
  // Beside the worlds with faults, since it mostly waits: 5 agents, each with 10 dead lines.
  const detected: number[] = [];
  const woken: number[] = [];
  const detecting = withWorld(
    { providers: Array.from({ length: AGENTS }, () => "echo" as const) },
    async (world) => {
      detected.push(...await measureDetection(world, DEAD_LINES / AGENTS));
      woken.push(...await measureWake(world, SLEEP_MS));
    },
  );
  detecting.catch(() => {});
  const { ok, ...report } = await runChaos({
    seed: number(flags.seed, crypto.getRandomValues(new Uint32Array(1))[0]!),
    faults,
    worlds: number(flags.worlds, 3),
    perRound: 12,
    pauseMs: 800,
    maxMs: 6_000,
    rate: 6,
    dir,
    providers: ["claude", "codex", "echo"],
    say: (text) => Deno.stderr.writeSync(new TextEncoder().encode(text + "\n")),
  });
  await detecting;
  const worked = detected.length >= DEAD_LINES && woken.every((ms) => ms <= WAKE_MS) &&
    report.faults >= faults && report.posted >= faults &&
    report.kills_in_flight >= IN_FLIGHT_SHARE * report.kills &&
    Object.keys(report.by_kind).length >= Math.min(KINDS, faults / 5);
  if (ok && worked) Deno.removeSync(dir, { recursive: true });
  else Deno.stderr.writeSync(new TextEncoder().encode(`kept: ${join(dir)}\n`));
  return {
    ok: ok && worked,
    worked,
    ...report,
    dead_lines: detected.length,
    max_detect_ms: Math.max(...detected),
    max_wake_ms: Math.max(...woken),
  };
}
