import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { ensurePrivateDir } from "../../base/private_file.ts";
import type { RunSettings } from "../../config/contract.ts";
import { newRunnerId, slotId, stableAgentId } from "../../config/identity.ts";
import { endLeftovers, forgetRun, noteRun } from "../../process/leftovers.ts";
import { lockInstanceAfterEnd } from "../../process/lock.ts";
import { createProcesses, type GuardedProcesses } from "../../process/mod.ts";
import type { Undo } from "./undo.ts";

/** What an agent has on this machine while it runs: its id, its directory and its processes. */
export interface AgentPlace {
  readonly agentId: string;
  readonly runnerId: string;
  readonly machine: string;
  /** Value of the marker in every process of this run. */
  readonly runId: string;
  /** Private 0700 directory, locked. */
  readonly dir: string;
  readonly processes: GuardedProcesses;
  /** The run is over but for its clean-up: a new one of this agent waits for the place. */
  ending(): void;
}

/**
 * Takes the agent's place: the lock, what an earlier run left behind, the guard. Throws `E_LOCKED`,
 * `E_STATE_WRITE`; what was begun by then is in `undo`.
 */
export async function takePlace(
  settings: RunSettings,
  undo: Undo,
  deps: { clock: Clock; log: Log; terminal: { path: string; modes: string } | null },
): Promise<AgentPlace> {
  const { clock, log, terminal } = deps;
  const { paths, provider } = settings;
  ensurePrivateDir(paths.home, { mayBeLink: true });
  ensurePrivateDir(paths.stateDir);
  const machine = Deno.hostname();
  const identity = { host: machine, provider, label: settings.label.value, cwd: settings.cwd.value };
  const fixedId = settings.agentId.value;
  const lock = await lockInstanceAfterEnd({
    stateDir: paths.stateDir,
    agentId: (slot) => fixedId ?? slotId(stableAgentId(identity), slot),
    fixed: fixedId !== null,
    pid: Deno.pid,
  }, clock);
  undo.add(() => lock.release());
  const { agentId, dir } = lock;
  await endLeftovers({ stateDir: dir, clock, log });
  const runId = crypto.randomUUID();
  noteRun(dir, runId);
  const processes = createProcesses({ runId, clock, log: log.child("process"), terminal });
  undo.add(async () => {
    await processes.dispose({ graceMs: 0 });
    if (processes.allEnded) forgetRun(dir, runId);
    else log.warn("nobody could look for what this run left behind, the next start tries again");
  });
  return {
    agentId,
    runnerId: newRunnerId(identity),
    machine,
    runId,
    dir,
    processes,
    ending: () => lock.ending(),
  };
}
