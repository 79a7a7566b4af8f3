import { LIFECYCLE_CAPABILITIES } from "../../config/resolve.ts";
import { IDENTIFIER } from "../../protocol/ids.ts";
import type { AgentCard } from "../../protocol/message.ts";
import type { Io } from "../contract.ts";
import { openRelay } from "../relay_access.ts";
import type { Candidate, Names } from "./candidates.ts";

/** For how long a person who pressed Tab is kept waiting; with the start of the program it stays below 400 ms. */
const ASK_MS = 250;

/** Options of the command line that say which relay to ask. */
const RELAY_FLAGS = ["relay-url", "token-file", "insecure-relay"] as const;

/** Returns the names that the relay knows. Throws when the relay cannot be asked, and whatever asking throws. */
export async function namesFromRelay(
  names: Names,
  given: Readonly<Record<string, string | true>>,
  io: Io,
): Promise<Candidate[]> {
  const signal = AbortSignal.timeout(ASK_MS);
  const flags: Record<string, string | true> = {};
  for (const name of RELAY_FLAGS) {
    const value = given[name];
    if (value !== undefined) flags[name] = typeof value === "string" ? fromHome(value, io) : value;
  }
  // The token is yet to come, on a standard input that is not ours to read; another one is not for this relay.
  if (given["token-stdin"] === true) throw new Error("no token yet");
  const { http } = await openRelay({ verb: "__complete", flags, positionals: [], providerArgs: [] }, io);
  const listed = await http.listAgents({}, signal);
  if (!listed.ok) throw new Error(listed.message);
  return namesOf(names, listed.value, given);
}

/** Shells hand over what is typed, and expand it only when the line is run. */
function fromHome(path: string, { env }: Io): string {
  return path.startsWith("~/") && env.HOME ? env.HOME + path.slice(1) : path;
}

/**
 * The names on these cards that the table asks for. Each is an identifier: a relay that says something else must not
 * get it onto a command line.
 */
export function namesOf(
  names: Names,
  cards: readonly AgentCard[],
  given: Readonly<Record<string, string | true>> = {},
): Candidate[] {
  const offline = names !== "running" && (names !== "target" || given.queue === true);
  const agents = cards.filter((card) => offline || card.status !== "offline");
  const ids = () =>
    agents.filter(({ id }) => IDENTIFIER.test(id)).map(({ id, label, status }) => ({
      value: id,
      description: [...IDENTIFIER.test(label ?? "") ? [`label:${label}`] : [], status]
        .join(", "),
    }));
  const labels = (before: string) => grouped(agents, before, ({ label }) => [label]);
  const tags = (before: string) => grouped(agents, before, (card) => card.tags);
  const caps = (before: string) =>
    grouped(
      agents,
      before,
      ({ capabilities }) => capabilities?.filter((each) => !LIFECYCLE_CAPABILITIES.includes(each)),
    );
  switch (names) {
    case "agent":
    case "running":
      return [...labels("label:"), ...ids()];
    case "target":
      return [
        ...labels("label:"),
        ...tags("tag:"),
        ...caps("cap:"),
        { value: "broadcast", description: counted(agents) },
        ...ids(),
      ];
    case "label":
      return labels("");
    case "tag":
      return tags("");
    case "cap":
      return caps("");
  }
}

/** Names that several agents may share, each once, with who has it. */
function grouped(
  agents: readonly AgentCard[],
  before: string,
  of: (card: AgentCard) => readonly (string | undefined)[] | undefined,
): Candidate[] {
  const having = new Map<string, AgentCard[]>();
  for (const card of agents) {
    // Another relay may leave members out, or null.
    for (const name of of(card) ?? []) {
      if (!name || !IDENTIFIER.test(name)) continue;
      const those = having.get(name);
      if (those === undefined) having.set(name, [card]);
      else those.push(card);
    }
  }
  return [...having].map(([name, those]) => ({ value: before + name, description: counted(those) }));
}

function counted(agents: readonly AgentCard[]): string {
  const [first] = agents;
  return agents.length === 1 ? `${first!.id}, ${first!.status}` : `${agents.length} agents`;
}
