import { systemClock } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import type { LogLevel } from "../../base/log.ts";
import { resolvePaths } from "../../config/paths.ts";
import { localRunners } from "../../control/admin_client.ts";
import type { AgentCard } from "../../protocol/message.ts";
import type { Invocation, Io, Verb } from "../contract.ts";
import { seenAgents, theAgent } from "../local_agents.ts";
import { lineText, type LogFilter, type ReadLine, readLine, wanted } from "../log_lines.ts";
import { openRelay } from "../relay_access.ts";
import { logFileOf, ownerOfLog } from "../run/log_file.ts";
import { lastLines, LogFollower } from "../run/log_reader.ts";
import { durationFlag } from "../flag_values.ts";

const LINES = 100;

/** Shows the log of an agent of this machine, and with --follow what it gets. */
export const run: Verb = async (invocation, io) => {
  const { flags } = invocation;
  const { logsDir, stateDir } = resolvePaths(io.env);
  const agentId = await whoseLog(invocation, io, { stateDir, known: logNames(logsDir) });
  const filter: LogFilter = {
    level: typeof flags.level === "string" ? flags.level as LogLevel : "debug",
    since: typeof flags.since === "string" ? Date.now() - durationFlag(flags.since, 0) : null,
  };
  const count = typeof flags.lines === "string" ? Number(flags.lines) : LINES;
  const keep = (raw: string): ReadLine | null => {
    const line = readLine(raw);
    return wanted(line, filter) ? line : null;
  };
  const show = (line: ReadLine) => io.out(flags.json === true ? `${line.raw}\n` : lineText(line, io.color));
  const path = logFileOf(logsDir, agentId);
  const { lines, next } = lastLines(path, count, keep);
  for (const line of lines) show(line);
  if (flags.follow !== true) return 0;
  const over = new AbortController();
  for await (const raw of new LogFollower(path, next).lines(systemClock, over.signal)) {
    const line = keep(raw);
    if (line !== null) show(line);
    if (io.outGone) break;
  }
  return 0;
};

/** Ids of the agents that have a log here. */
function logNames(logsDir: string): string[] {
  try {
    return [...Deno.readDirSync(logsDir)].flatMap(({ name }) => {
      const owner = ownerOfLog(name);
      return owner === null || owner.rotated ? [] : [owner.agentId];
    }).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * The agent whose log is meant: by its id, which needs nobody, or by a name that its runner or the relay knows. Throws
 * `E_NO_RECIPIENT`, `E_TARGET`, and `E_NOT_FOUND` for an agent of another machine.
 */
async function whoseLog(
  invocation: Invocation,
  io: Io,
  { stateDir, known }: { stateDir: string; known: readonly string[] },
): Promise<string> {
  const [target] = invocation.positionals;
  if (target === undefined) {
    const running = localRunners(stateDir).map(({ agentId }) => agentId);
    const [only, ...more] = running.length === 1 ? running : known;
    if (only !== undefined && more.length === 0) return only;
    throw new RunnerError(
      "E_USAGE",
      only === undefined ? "there are no logs here" : "it is not said whose log is meant",
      {
        hint: only === undefined ? "the log is on the machine of the agent" : `one of ${known.join(", ")}`,
      },
    );
  }
  if (known.includes(target)) return target;
  let cards: AgentCard[] = [];
  try {
    const listed = await (await openRelay(invocation, io)).http.listAgents();
    if (listed.ok) cards = listed.value;
  } catch (error) {
    // What the relay would add is only the name of an agent that is not running.
    if (!(error instanceof RunnerError)) throw error;
  }
  const seen = await seenAgents(stateDir, cards);
  const names = new Set(seen.map(({ id }) => id));
  const silent = known.filter((id) => !names.has(id)).map((id) => ({
    id,
    card: null,
    runner: null,
    run: null,
    problem: null,
  }));
  const agent = theAgent([...seen, ...silent], target);
  if (known.includes(agent.id)) return agent.id;
  throw new RunnerError("E_NOT_FOUND", `the log of ${agent.id} is not here`, {
    hint: agent.card === null ? "it has not run yet" : `it runs on ${agent.card.machine}`,
  });
}
