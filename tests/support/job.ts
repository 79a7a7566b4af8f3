import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { RunResult } from "../../lib/cli/run/result.ts";
import { type CommandOptions, describeProcesses, processesWith, TestHome } from "./runner_process.ts";

/** A run that has ended by itself, with everything it left. */
export interface Job {
  code: number;
  out: string;
  err: string;
  result: RunResult;
}

/** Starts a job that writes a result. */
export function startJob(home: TestHome, args: readonly string[], options: CommandOptions = {}) {
  const [verb, ...rest] = args;
  return home.start([verb!, "--result", resultFile(home), ...rest], options);
}

/** Resolves once a job has ended by itself, with its result; no process of it may be left. */
export async function endOfJob(
  home: TestHome,
  running: ReturnType<TestHome["start"]>,
  timeoutMs = 60_000,
): Promise<Job> {
  const code = await running.ended(timeoutMs);
  for (const marker of [`AGENT_RELAY_HOME=${home.home}`, `AGENT_RELAY_CONTROL_FILE=${home.home}`]) {
    const left = (await processesWith(marker)).filter((pid) => !home.runs(pid));
    assertEquals(await describeProcesses(left), [], `left behind; ${running.err}`);
  }
  return { code, out: running.out, err: running.err, result: readResult(home) };
}

/** Runs a job to its end. */
export async function runJob(
  home: TestHome,
  args: readonly string[],
  options: CommandOptions & { timeoutMs?: number } = {},
): Promise<Job> {
  return await endOfJob(home, startJob(home, args, options), options.timeoutMs);
}

function resultFile(home: TestHome): string {
  return join(home.cwd, "..", "result.json");
}

/** Reads the result of the last job. It is private, whatever the umask. */
export function readResult(home: TestHome): RunResult {
  const path = resultFile(home);
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  return JSON.parse(Deno.readTextFileSync(path)) as RunResult;
}

/** Names of everything below a directory, directories left out, sorted. */
export function filesBelow(dir: string, prefix = ""): string[] {
  return [...Deno.readDirSync(dir)].flatMap((entry) =>
    entry.isDirectory
      ? filesBelow(join(dir, entry.name), `${prefix}${entry.name}/`)
      : [`${prefix}${entry.name}`]
  ).sort();
}

/** How many drains the log of the one agent of this home tells of. */
export function drains(home: TestHome): number {
  const [log] = filesBelow(join(home.home, "logs"));
  return Deno.readTextFileSync(join(home.home, "logs", log!)).split("signal, the run drains").length - 1;
}
