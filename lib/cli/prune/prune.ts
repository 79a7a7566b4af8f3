import { join } from "@std/path";
import { RunnerError, shown } from "../../base/errors.ts";
import { isThere } from "../../base/private_file.ts";
import type { Paths } from "../../config/contract.ts";
import { IDENTIFIER } from "../../protocol/ids.ts";
import { ownerOfLog } from "../run/log_file.ts";
import { Bin } from "./bin.ts";
import type { Kept, LogFacts, Outcome, Rules } from "./contract.ts";
import { isLogToRemove, isOld, reasonToKeep, remnantsToRemove } from "./decide.ts";
import { entriesOf, type Found, lookAtAgent, writtenAt } from "./look.ts";
import { isAside, isTemporaryToken } from "./names.ts";

/** Logs by agent. */
type Logs = Map<string, (Found & { rotated: boolean })[]>;

/** What to tidy up, and how. */
export interface PruneOptions {
  paths: Pick<Paths, "home" | "stateDir" | "logsDir">;
  rules: Rules;
  /** Only says what would be removed. */
  dryRun: boolean;
  pid: number;
  /** Told of each agent before it is looked at. */
  progress?(agentId: string, number: number, of: number): void;
}

/**
 * Removes from a home what no agent needs any more, and says what that was and why the rest stays. An agent's place is
 * held while it is decided on and removed. Throws `E_HOME` for a home that it does not go into and `E_LOCKED` while
 * another prune is at work; what cannot be removed is in the outcome.
 */
export function pruneHome(options: PruneOptions): Outcome {
  const { home, stateDir, logsDir } = options.paths;
  for (const dir of [stateDir, logsDir]) refuseLink(dir);
  const turn = takeTurn(home);
  try {
    const bin = new Bin(options);
    const [inHome, inState, inLogs] = [home, stateDir, logsDir].map((dir) => listed(dir, bin));
    for (const { path } of [inHome, inState, inLogs].flatMap((each) => each ?? []).filter(isAside)) {
      bin.empty(path);
    }
    for (const { path, info } of inHome?.filter(isTemporaryToken) ?? []) {
      if (isOld(writtenAt(info), options.rules)) {
        bin.remove({ kind: "temporary", path, seen: info, asideDir: home });
      }
    }
    const logs = logsOf(inLogs ?? []);
    const kept = pruneAgents(options, bin, { dirs: inState ?? [], logs });
    // Whose agents cannot be seen, their logs are nobody's to remove.
    if (inState !== null) pruneLogs(options, bin, logs);
    return { removed: bin.removed, kept, failed: bin.failed };
  } finally {
    // A process that is just being started may hold the directory open as well.
    turn?.unlockSync();
    turn?.close();
  }
}

/** Null for a directory that cannot be read. */
function listed(dir: string, bin: Bin): Found[] | null {
  try {
    return entriesOf(dir);
  } catch (error) {
    bin.fail(dir, error);
    return null;
  }
}

function logsOf(entries: readonly Found[]): Logs {
  const logs: Logs = new Map();
  for (const each of entries) {
    const owner = each.isFile ? ownerOfLog(each.name) : null;
    if (owner === null || !IDENTIFIER.test(owner.agentId)) continue;
    const { agentId, rotated } = owner;
    logs.set(agentId, [...logs.get(agentId) ?? [], { ...each, rotated }]);
  }
  return logs;
}

/** Decides on each agent, and takes out of `logs` what was decided on with it. */
function pruneAgents(
  options: PruneOptions,
  bin: Bin,
  { dirs, logs }: { dirs: readonly Found[]; logs: Logs },
): Kept[] {
  const { paths: { stateDir }, rules } = options;
  const kept: Kept[] = [];
  const agents = dirs.filter(({ name }) => IDENTIFIER.test(name));
  for (const [index, { name: agentId, path, info }] of agents.entries()) {
    options.progress?.(agentId, index + 1, agents.length);
    const own = logs.get(agentId) ?? [];
    logs.delete(agentId);
    if (!info.isDirectory) {
      kept.push({ agentId, reason: info.isSymlink ? "it is a symbolic link" : "it is no directory" });
      continue;
    }
    const { facts, place } = lookAtAgent(path, options);
    try {
      const reason = reasonToKeep(facts, rules);
      // First, while the lock is where a start looks for it: a start makes the place and the log anew.
      removeLogs(own, { ...options, bin, agentId, owner: reason === null ? "removed" : "stays" });
      if (reason !== null) {
        kept.push({ agentId, reason });
        for (const { kind, path } of remnantsToRemove(facts, rules)) {
          bin.remove({ kind, path, agentId, asideDir: stateDir });
        }
        continue;
      }
      // Windows moves no directory with an open file in it: a runner that has the place by then is safe by that.
      if (Deno.build.os === "windows") place?.release();
      bin.remove({ kind: "agent", path, agentId, seen: info, asideDir: stateDir });
    } finally {
      place?.release();
    }
  }
  return kept;
}

/** Decides on the logs whose agent has no directory. */
function pruneLogs(options: PruneOptions, bin: Bin, logs: Logs): void {
  const { stateDir } = options.paths;
  for (const [agentId, own] of logs) {
    // A runner makes its directory before it opens its log: one that has just begun is seen once the log is aside.
    const still = () => !isThere(join(stateDir, agentId));
    removeLogs(own, { ...options, bin, agentId, owner: "gone", still });
  }
}

function removeLogs(
  logs: readonly (Found & { rotated: boolean })[],
  { bin, agentId, owner, rules, paths, still }: {
    bin: Bin;
    agentId: string;
    owner: LogFacts["owner"];
    rules: Rules;
    paths: PruneOptions["paths"];
    still?: () => boolean;
  },
): void {
  for (const { path, info, rotated } of logs) {
    if (!isLogToRemove({ owner, rotated, at: writtenAt(info) }, rules)) continue;
    bin.remove({
      kind: "log",
      path,
      agentId,
      seen: info,
      asideDir: paths.logsDir,
      ...(still === undefined ? {} : { still }),
    });
  }
}

/** What a link leads to may be used by others, who know nothing of agents. */
function refuseLink(dir: string): void {
  if (!isThere(dir) || Deno.lstatSync(dir).isDirectory) return;
  throw new RunnerError("E_HOME", `Cannot prune ${shown(dir, 200)}: it is a link, or no directory`, {
    hint: "prune follows no links",
  });
}

/** One prune at a time: what one has moved aside to look at it, another one would delete. */
function takeTurn(home: string): Deno.FsFile | null {
  let dir: Deno.FsFile | null = null;
  try {
    dir = Deno.openSync(home, { read: true });
    if (dir.tryLockSync(true)) return dir;
  } catch {
    // Not every file system locks directories; nothing but this is lost there.
    dir?.close();
    return null;
  }
  dir.close();
  throw new RunnerError("E_LOCKED", "another prune is at work in this home", { hint: "wait for its end" });
}
