import { join } from "@std/path";
import { showDuration } from "../../base/duration.ts";
import { shown } from "../../base/errors.ts";
import { noLog } from "../../base/log.ts";
import { adminFileOf, controlFileOf } from "../../control/contract.ts";
import { endLeftovers, hasRunNote } from "../../process/leftovers.ts";
import { lockInstance } from "../../process/lock.ts";
import { IDENTIFIER } from "../../protocol/ids.ts";
import { type SeenAgent, seenAgents } from "../local_agents.ts";
import type { Check, DoctorDeps, Finding } from "./contract.ts";

/** A turn that has lasted longer is worth a look. */
const LONG_TURN_MS = 3_600_000;

/** The agents of this home: those that run, and what runs that were killed have left behind. */
export const checkAgents: Check = async (deps) => {
  const { stateDir } = deps.paths;
  const seen = await seenAgents(stateDir, null);
  const running = seen.filter(({ run }) => run !== null);
  const up = new Set(running.map(({ id }) => id));
  const findings = [
    ...seen.flatMap(ofRunning),
    ...stateDirs(stateDir).flatMap((id) => up.has(id) ? [] : ofKilled(id, seen, deps)),
    ...stateDirs(stateDir).flatMap((id) => ofDamage(id, stateDir)),
  ];
  const text = running.length === 1
    ? "1 agent runs in this home"
    : `${running.length} agents run in this home`;
  return findings.some(({ health }) => health !== "ok")
    ? findings
    : [{ check: "agents", health: "ok", text }, ...findings];
};

function ofRunning({ id, run, runner, problem }: SeenAgent): Finding[] {
  const warn = (text: string, hint = `see: runner status ${id}`): Finding => ({
    check: "agent",
    health: "warn",
    text: `${id} ${text}`,
    hint,
  });
  if (run === null) {
    return problem === "it does not answer"
      ? [warn(`does not answer (pid ${runner?.pid})`, "it is stopped (Ctrl-Z) or stuck")]
      : [];
  }
  const { agentStatus, ready, meta } = run.status;
  const reason = (meta as { reason?: string } | undefined)?.reason;
  const { activity, forMs } = run.provider;
  return [
    ...(agentStatus === "error" || (ready === false && reason !== "starting")
      ? [warn(`takes no work: ${shown(reason ?? String(agentStatus), 200)}`)]
      : []),
    ...(activity === "approval"
      ? [warn(`has waited ${showDuration(forMs ?? 0)} for a person's approval`)]
      : activity === "busy" && (forMs ?? 0) > LONG_TURN_MS
      ? [warn(`has been in one turn for ${showDuration(forMs!)}`)]
      : []),
    ...(run.bus === "up" || run.relay === null ? [] : [warn("is not connected to its relay")]),
  ];
}

/** A run that ended in order leaves no note of itself. */
function ofKilled(id: string, seen: readonly SeenAgent[], { paths, clock }: DoctorDeps): Finding[] {
  const dir = join(paths.stateDir, id);
  const agent = seen.find((each) => each.id === id);
  // One that does not answer is there, and is told of as such.
  if (!hasRunNote(dir) || agent?.problem === "it does not answer") return [];
  return [{
    check: "agent",
    health: "warn",
    text: `${id} was killed; its next start ends what it may have left behind`,
    fix: {
      does: "ends what it left behind",
      apply: async () => {
        const lock = lockInstance({
          stateDir: paths.stateDir,
          agentId: () => id,
          fixed: true,
          pid: Deno.pid,
        });
        try {
          await endLeftovers({ stateDir: dir, clock, log: noLog });
          for (const file of [adminFileOf(dir), controlFileOf(dir)]) {
            await Deno.remove(file).catch((error) => {
              if (!(error instanceof Deno.errors.NotFound)) throw error;
            });
          }
        } finally {
          lock.release();
        }
      },
    },
  }];
}

function ofDamage(id: string, stateDir: string): Finding[] {
  const dir = join(stateDir, id, "quarantine");
  let files: string[];
  try {
    files = [...Deno.readDirSync(dir)].map(({ name }) => name);
  } catch {
    return [];
  }
  if (files.length === 0) return [];
  return [{
    check: "journal",
    health: "warn",
    text: `a damaged journal of ${id} was put aside; what could be read of it is in use`,
    hint: `look at the disk; the files are in ${shown(dir, 200)}`,
  }];
}

function stateDirs(stateDir: string): string[] {
  try {
    return [...Deno.readDirSync(stateDir)].filter(({ name, isDirectory }) =>
      isDirectory && IDENTIFIER.test(name)
    ).map(({ name }) => name).sort();
  } catch {
    return [];
  }
}
