import { join } from "@std/path";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { writeFileAtomic } from "../base/private_file.ts";
import { startGuard } from "./guard.ts";

const FILE = "run.json";
const RUN_ID = /^[0-9a-f-]{36}$/;

/** Notes that a run has begun, so that the next one can clean up when this one and its guard are both killed. */
export function noteRun(stateDir: string, runId: string): void {
  writeFileAtomic(join(stateDir, FILE), JSON.stringify({ runId }) + "\n");
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
export function forgetRun(stateDir: string): void {
  try {
    Deno.removeSync(join(stateDir, FILE));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Ends processes of an earlier run that died together with its guard. They are found by the run's marker in their
 * environment, never by a process id, which may belong to somebody else by now. Returns how many were ended.
 */
export async function endLeftovers(
  options: { stateDir: string; clock: Clock; log: Log },
): Promise<number> {
  const { stateDir, clock, log } = options;
  let runId: unknown;
  try {
    runId = (JSON.parse(Deno.readTextFileSync(join(stateDir, FILE))) as { runId?: unknown }).runId;
  } catch {
    return 0;
  }
  if (typeof runId !== "string" || !RUN_ID.test(runId)) return 0;
  const guard = startGuard({ runId, clock, log });
  const ended = await guard.sweep();
  await guard.dispose();
  forgetRun(stateDir);
  if (ended > 0) log.warn("ended processes that an earlier run left behind", { ended });
  return Math.max(0, ended);
}
