import { askRunner, type LocalRunner, localRunners } from "../control/admin_client.ts";
import type { AgentCard } from "../protocol/message.ts";
import { theOneMeant } from "./relay_access.ts";
import type { RunView } from "./run/run_view.ts";

/** An agent as far as it can be seen from here: by its runner on this machine, by the relay, or by both. */
export interface SeenAgent {
  id: string;
  /** Null when the relay does not know it or cannot be asked. */
  card: AgentCard | null;
  /** Null when no runner of this home runs it. */
  runner: LocalRunner | null;
  /** What its runner says of it; null without one, and when that does not answer. */
  run: RunView | null;
  /** Why the runner did not answer. */
  problem: string | null;
}

/** Puts together what the runners of this home say and what the relay says (null when it cannot be asked). */
export async function seenAgents(stateDir: string, cards: readonly AgentCard[] | null): Promise<SeenAgent[]> {
  const agents = new Map<string, SeenAgent>();
  for (const card of cards ?? []) {
    agents.set(card.id, { id: card.id, card, runner: null, run: null, problem: null });
  }
  const answers = await Promise.all(
    localRunners(stateDir).map(async (runner) => ({ runner, answer: await askRunner(runner) })),
  );
  for (const { runner, answer } of answers) {
    const id = runner.agentId;
    agents.set(id, {
      id,
      card: agents.get(id)?.card ?? null,
      runner,
      // The two ends are one program, but for an update in between: what is missing then is shown as missing.
      run: answer.ok ? answer.value as unknown as RunView : null,
      problem: answer.ok ? null : answer.reason,
    });
  }
  return [...agents.values()].sort((a, b) => a.id < b.id ? -1 : 1);
}

/** Returns the label of an agent, null without one. */
export function labelOf({ card, run }: SeenAgent): string | null {
  return run?.label ?? card?.label ?? null;
}

/** Returns the one agent that a person means by its id, runner id or `label:X`. Throws `E_NO_RECIPIENT`, `E_TARGET`. */
export function theAgent(agents: readonly SeenAgent[], target: string): SeenAgent {
  return theOneMeant(
    agents.map((agent) => ({
      agent,
      names: [agent.id, agent.run?.runnerId, agent.card?.componentId].filter((name) => name !== undefined),
      label: labelOf(agent),
      there: agent.runner !== null || (agent.card !== null && agent.card.status !== "offline"),
    })),
    target,
  );
}
