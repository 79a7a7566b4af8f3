import { RunnerError, shown } from "../base/errors.ts";
import { nearMisses } from "../base/suggest.ts";

/** The error for a target that means nobody, with what the person may have meant. */
export function noRecipient(target: string, candidates: readonly string[], hint?: string): RunnerError {
  const near = candidates.includes(`label:${target}`) ? [`label:${target}`] : nearMisses(target, candidates);
  const there = [...new Set(candidates)].filter((each) => /^label:/.test(each) || !each.includes(":")).slice(
    0,
    5,
  );
  const known = candidates.includes(target)
    ? "it is offline"
    : near.length > 0
    ? `did you mean ${near.join(" or ")}?`
    : there.length > 0
    ? `there are ${there.join(", ")}`
    : "no agent is on the bus";
  return new RunnerError("E_NO_RECIPIENT", `nobody is there for "${shown(target)}"`, {
    hint: hint === undefined ? known : `${known}; ${hint}`,
  });
}
