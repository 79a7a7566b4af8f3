import { resolvePaths } from "../../config/paths.ts";
import type { AgentCard } from "../../protocol/message.ts";
import { shown } from "../../base/errors.ts";
import type { Verb } from "../contract.ts";
import { seenAgents, theAgent } from "../local_agents.ts";
import { openRelay, type RelayAccess } from "../relay_access.ts";
import { statusText } from "../status_text.ts";
import { type Style, styleFor } from "../style.ts";

/**
 * Shows what each agent is doing and why: the runners of this home are asked themselves, the others are shown as the relay
 * knows them. A relay that cannot be asked is part of the answer, not a failure.
 */
export const run: Verb = async (invocation, io) => {
  const [target] = invocation.positionals;
  const access = await openRelay(invocation, io);
  const { stateDir } = resolvePaths(io.env);
  const { relay, cards } = await askRelay(access);
  const all = await seenAgents(stateDir, cards);
  const agents = target === undefined ? all : [theAgent(all, target)];
  if (invocation.flags.json === true) {
    // A runner's own token is no business of whoever reads this.
    const told = agents.map(({ id, card, run, problem }) => ({ id, card, run, problem }));
    io.out(JSON.stringify({ relay, agents: told }) + "\n");
    return 0;
  }
  const { color } = io;
  if (target === undefined) io.out(`relay  ${relayText(relay, styleFor(color))}\n`);
  for (const agent of agents) {
    io.out((target === undefined ? "\n" : "") + statusText(agent, { color, now: Date.now() }));
  }
  if (agents.length === 0) io.out("no agents\n");
  return 0;
};

type RelayState =
  | { url: string; state: "up"; version: string; storeId: string; embedded: boolean }
  | { url: string; state: "down" | "refuses"; problem: string };

async function askRelay(
  { http, url }: RelayAccess,
): Promise<{ relay: RelayState; cards: AgentCard[] | null }> {
  const health = await http.health();
  if (!health.ok) return { relay: { url, state: "down", problem: health.message }, cards: null };
  const listed = await http.listAgents();
  if (!listed.ok) {
    const state = listed.kind === "auth" ? "refuses" : "down";
    return { relay: { url, state, problem: listed.message }, cards: null };
  }
  const { version, storeId, embedded } = health.value;
  return { relay: { url, state: "up", version, storeId, embedded }, cards: listed.value };
}

function relayText(relay: RelayState, style: Style): string {
  const url = shown(relay.url, 200);
  switch (relay.state) {
    case "up":
      return `${url}  ${shown(relay.version)}, ${relay.embedded ? "served by a runner" : "served by itself"}`;
    case "refuses":
      return `${url}  ${style.red("refuses the token")}`;
    case "down":
      return `${url}  ${style.red(`does not answer: ${shown(relay.problem, 200)}`)}`;
  }
}
