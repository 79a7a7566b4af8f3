import { RunnerError, shown } from "../base/errors.ts";
import { nearMisses } from "../base/suggest.ts";

/**
 * The error for a target that means nobody, with what the person or the model may have meant. `sender` is who sent to it: a
 * group never means its sender, and neither does a suggestion. `hint` comes after ours.
 */
export function noRecipient(
  target: string,
  candidates: readonly string[],
  { sender, hint }: { sender?: string; hint?: string } = {},
): RunnerError {
  const others = candidates.filter((each) => each !== sender);
  const near = others.includes(`label:${target}`) ? [`label:${target}`] : nearMisses(target, others);
  const there = [...new Set(others)].filter((each) => /^label:/.test(each) || !each.includes(":")).slice(
    0,
    5,
  );
  const known = candidates.includes(target)
    ? others.length < candidates.length
      ? "it is offline, or means the sender alone, who gets no message of its own"
      : "it is offline"
    : near.length > 0
    ? `did you mean ${near.join(" or ")}?`
    : there.length > 0
    ? `there are ${there.join(", ")}`
    : "no agent is on the bus";
  return new RunnerError("E_NO_RECIPIENT", `nobody is there for "${shown(target)}"`, {
    hint: hint === undefined ? known : `${known}; ${hint}`,
  });
}
