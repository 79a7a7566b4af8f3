import { join } from "@std/path";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { writeFileAtomic } from "../base/private_file.ts";
import { type Guard, startGuard } from "./guard.ts";

const FILE = "run.json";
const RUN_ID = /^[0-9a-f-]{36}$/;

/** Runs that are noted at most: of more nobody would look for what they left. */
const NOTED = 16;

/**
 * Notes that a run has begun, so that the next one can clean up when this one and its guard are both killed. Earlier ones
 * stay noted until nothing of them is left.
 */
export function noteRun(stateDir: string, runId: string): void {
  note(stateDir, [...noted(stateDir).filter((each) => each !== runId), runId].slice(-NOTED));
}

/** True while a run is noted: one that is under way, or that was killed. */
export function hasRunNote(stateDir: string): boolean {
  try {
    return Deno.statSync(join(stateDir, FILE)).isFile;
  } catch {
    return false;
  }
}

/** The run ended in order: nothing is left of it. */
export function forgetRun(stateDir: string, runId: string): void {
  note(stateDir, noted(stateDir).filter((each) => each !== runId));
}

/**
 * Ends processes of earlier runs that died together with their guards. They are found by the run's marker in their
 * environment, never by a process id, which may belong to somebody else by now. A run that could not be looked after stays
 * noted. Returns how many were ended.
 */
export async function endLeftovers(
  options: {
    stateDir: string;
    clock: Clock;
    log: Log;
    guard?: (runId: string) => Pick<Guard, "sweep" | "dispose">;
  },
): Promise<number> {
  const { stateDir, clock, log } = options;
  const begin = options.guard ?? ((runId: string) => startGuard({ runId, clock, log }));
  let all = 0;
  const runs = noted(stateDir);
  // What is in the file and is no note of ours.
  if (runs.length === 0) note(stateDir, []);
  for (const runId of runs) {
    const guard = begin(runId);
    const ended = await guard.sweep();
    await guard.dispose();
    if (ended < 0) {
      log.warn("what an earlier run left behind could not be looked for; the next start tries again", {
        runId,
      });
      continue;
    }
    forgetRun(stateDir, runId);
    all += ended;
  }
  if (all > 0) log.warn("ended processes that an earlier run left behind", { ended: all });
  return all;
}

/** The runs that have not ended in order, oldest first. A note of one run alone is read as well. */
function noted(stateDir: string): string[] {
  try {
    const { runId, runIds = [runId] } = JSON.parse(Deno.readTextFileSync(join(stateDir, FILE))) as {
      runId?: unknown;
      runIds?: unknown;
    };
    return Array.isArray(runIds)
      ? runIds.filter((each): each is string => typeof each === "string" && RUN_ID.test(each))
      : [];
  } catch {
    return [];
  }
}

function note(stateDir: string, runIds: readonly string[]): void {
  const path = join(stateDir, FILE);
  if (runIds.length > 0) return writeFileAtomic(path, JSON.stringify({ runIds }) + "\n");
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
