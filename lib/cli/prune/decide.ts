import { showDuration } from "../../base/duration.ts";
import { shown } from "../../base/errors.ts";
import type { AgentFacts, LogFacts, Remnant, Rules } from "./contract.ts";

/** True when something has not been touched for as long as the rules ask for. A time that is still to come is not old. */
export function isOld(at: number, { now, olderThanMs }: Rules): boolean {
  return now - at >= olderThanMs;
}

/**
 * Says why an agent stays; null when nobody needs it any more. What is not certain (a journal that cannot be read, a name
 * that is not known) is a reason to stay.
 */
export function reasonToKeep(agent: AgentFacts, rules: Rules): string | null {
  switch (agent.place) {
    case "none":
      return agent.problem;
    case "taken":
      return agent.ending ? "it is just ending" : "it runs";
    case "held": {
      const { lastRun, killed, unknown, journal } = agent;
      if (!isOld(lastRun, rules)) return `it ran ${showDuration(Math.max(0, rules.now - lastRun))} ago`;
      if (killed) {
        return `it was killed, and what it started may still run; "runner doctor --fix" ends that`;
      }
      if (unknown.length > 0) return `"${shown(unknown[0]!)}" in its directory is not of a runner`;
      return journal === null ? "nobody looked into its journal" : reasonInJournal(journal);
    }
  }
}

function reasonInJournal(journal: NonNullable<Extract<AgentFacts, { place: "held" }>["journal"]>) {
  switch (journal.state) {
    case "none":
      return null;
    case "newer":
      return "its journal is of a newer runner";
    case "damaged":
      return `its journal is damaged: ${shown(journal.problem, 200)}`;
    case "whole": {
      const { open, dead } = journal;
      const reasons = [
        ...(open === 0 ? [] : [open === 1 ? "1 message has not ended" : `${open} messages have not ended`]),
        ...(dead === 0
          ? []
          : [`${dead === 1 ? "1 dead letter waits" : `${dead} dead letters wait`} for a person's decision`]),
      ];
      return reasons.length === 0 ? null : reasons.join(", ");
    }
  }
}

/**
 * Returns what goes of an agent that stays. Of a run that is under way, or just ending, only journals that were put aside:
 * it uses no one knows which of the other things.
 */
export function remnantsToRemove(agent: AgentFacts, rules: Rules): Remnant[] {
  if (agent.place === "none") return [];
  const plugins = agent.remnants.filter(({ kind }) => kind === "plugin");
  // The one that was unpacked last is of the version that the agent ran with last, and may run with again.
  const latest = plugins.toSorted((a, b) => b.at - a.at)[0];
  return agent.remnants.filter((each) =>
    isOld(each.at, rules) && (each.kind === "quarantine" || (agent.place === "held" && each !== latest))
  );
}

/** True for a log that nobody needs: of an agent that is gone, or an old part of the log of one that stays. */
export function isLogToRemove({ owner, rotated, at }: LogFacts, rules: Rules): boolean {
  switch (owner) {
    case "removed":
      return true;
    case "gone":
      return isOld(at, rules);
    case "stays":
      return rotated && isOld(at, rules);
  }
}
