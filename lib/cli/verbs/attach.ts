import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import { resolvePaths } from "../../config/paths.ts";
import { type LocalRunner, watchRunner } from "../../control/admin_client.ts";
import type { Io, Verb } from "../contract.ts";
import { type SeenAgent, seenAgents, theAgent } from "../local_agents.ts";
import { openRelay } from "../relay_access.ts";
import { RunWatch } from "../watch_text.ts";

/**
 * Brings a person to an agent: into its terminal when that is in tmux, else to what it says, as it comes. Leaving
 * (`Ctrl-B D` in tmux, Ctrl-C) changes nothing for the agent.
 */
export const run: Verb = async (invocation, io) => {
  const { flags } = invocation;
  const access = await openRelay(invocation, io);
  const listed = await access.http.listAgents();
  const { stateDir } = resolvePaths(io.env);
  const agent = theAgent(
    await seenAgents(stateDir, listed.ok ? listed.value : null),
    invocation.positionals[0]!,
  );
  const runner = here(agent);
  const { run: view } = agent;
  const watch = flags.watch === true || flags.json === true;
  if (!watch && view?.tmux !== null && view?.tmux !== undefined) {
    const { attachPane } = await import("../run/tmux.ts");
    return await attachPane(view.tmux, io.env);
  }
  if (!watch && view?.headless === false) {
    throw new RunnerError("E_CONFLICT", `${agent.id} is in a terminal of its own (pid ${runner.pid})`, {
      hint: "--watch shows what happens there; --detach starts one that can be attached to",
    });
  }
  return await follow(runner, io, { json: flags.json === true, http: access.http });
};

/** The agent's runner. Throws `E_NOT_FOUND` when it is not on this machine, or does not answer. */
function here({ id, runner, card, problem }: SeenAgent): LocalRunner {
  if (runner === null) {
    throw new RunnerError("E_NOT_FOUND", `${id} does not run in this home`, {
      hint: card === null || card.status === "offline"
        ? `see "runner status ${id}"`
        : `it runs on ${card.machine}`,
    });
  }
  if (problem !== null) {
    throw new RunnerError(
      "E_NOT_FOUND",
      `the runner of ${id} (pid ${runner.pid}) cannot be asked: ${problem}`,
      { hint: "it was killed, or is stopped (Ctrl-Z) or stuck" },
    );
  }
  return runner;
}

async function follow(
  runner: LocalRunner,
  io: Io,
  { json, http }: { json: boolean; http: ConstructorParameters<typeof RunWatch>[1] },
): Promise<number> {
  const text = new RunWatch(io, http);
  let ended = false;
  try {
    for await (const event of watchRunner(runner)) {
      io.out(json ? JSON.stringify(event) + "\n" : await text.of(event));
      if (io.outGone) return 0;
      ended ||= event.type === "end";
    }
  } catch (error) {
    throw new RunnerError("E_NOT_FOUND", `${runner.agentId} cannot be watched: ${shown(messageOf(error))}`, {
      hint: `see "runner status ${runner.agentId}"`,
    });
  }
  if (ended) return 0;
  throw new RunnerError("E_NOT_FOUND", `the runner of ${runner.agentId} is gone`, {
    hint: `see "runner status ${runner.agentId}"`,
  });
}
