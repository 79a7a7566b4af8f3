import { RunnerError, shown } from "../../base/errors.ts";
import { nearMisses } from "../../base/suggest.ts";
import type { DeadLetter } from "../../protocol/message.ts";
import type { Invocation, Io, Verb } from "../contract.ts";
import { foreignText } from "../foreign_text.ts";
import { noRecipient } from "../../sdk/no_recipient.ts";
import { openRelay, type RelayAccess, valueOf } from "../relay_access.ts";
import { styleFor } from "../style.ts";
import { DEAD_ACTIONS } from "../table.ts";
import { columns } from "../table_text.ts";

/** Letters that the relay lists at a time. */
const PAGE = 1_000;
type Action = (typeof DEAD_ACTIONS)[number];

/** Lists the messages that agents gave up on, shows one, gives it to its agent again, or ends it for good. */
export const run: Verb = async (invocation, io) => {
  const action = actionOf(invocation.positionals[0]);
  const access = await openRelay(invocation, io);
  if (action === "list") return await list(access, invocation, io);
  const letters = await chosen(access, invocation, action, io);
  if (action === "show") return await show(access, letters, invocation, io);
  for (const { messageId, agentId, generation } of letters) {
    const key = { messageId, agentId, generation };
    valueOf(await (action === "retry" ? access.http.retryDead(key) : access.http.dropDead(key)), access.url);
  }
  if (invocation.flags.json === true) io.out(JSON.stringify({ action, letters }) + "\n");
  else {
    const done = action === "retry" ? "is open again for" : "is dropped for";
    for (const { messageId, agentId } of letters) io.out(`message ${messageId} ${done} ${agentId}\n`);
  }
  return 0;
};

function actionOf(given: string | undefined): Action {
  if (given === undefined) return "list";
  const action = DEAD_ACTIONS.find((each) => each === given);
  if (action !== undefined) return action;
  const [near] = nearMisses(given, DEAD_ACTIONS);
  throw new RunnerError("E_USAGE", `"${shown(given)}" is nothing that can be done with dead letters`, {
    hint: near === undefined ? `use ${DEAD_ACTIONS.join(", ")}` : `did you mean "runner dead ${near}"?`,
  });
}

async function letters(access: RelayAccess): Promise<DeadLetter[]> {
  return valueOf(await access.http.listDead({ limit: PAGE }), access.url).letters;
}

/** A page that is full need not be all. */
function sayIfMore(all: DeadLetter[], io: Io): void {
  if (all.length === PAGE) io.err(`these are the first ${PAGE}; there may be more\n`);
}

async function list(access: RelayAccess, { positionals, flags }: Invocation, io: Io): Promise<number> {
  if (/^\d+$/.test(positionals[1] ?? "")) {
    throw new RunnerError(
      "E_USAGE",
      `"dead list" takes an agent, and ${positionals[1]} is the id of a message`,
      {
        hint: `use "runner dead show ${positionals[1]}"`,
      },
    );
  }
  const target = positionals[1] ?? (typeof flags.agent === "string" ? flags.agent : undefined);
  const all = await letters(access);
  const found = target === undefined ? all : await ofAgent(access, all, target);
  if (flags.json === true) {
    io.out(JSON.stringify({ letters: found }) + "\n");
    return 0;
  }
  if (found.length === 0) {
    io.out("no dead letters\n");
    return 0;
  }
  const style = styleFor(io.color);
  io.out(columns([
    ["ID", "AGENT", "FROM", "DIED", "WHY"].map(style.dim),
    ...found.map((letter) => [
      String(letter.messageId),
      shown(letter.agentId),
      shown(letter.from),
      new Date(letter.at).toISOString(),
      style.red(shown(letter.reason, 100)),
    ]),
  ]));
  sayIfMore(all, io);
  return 0;
}

/** Letters of an agent that is named by its id or label. One that is gone from the bus may still have some. */
async function ofAgent(access: RelayAccess, all: DeadLetter[], target: string): Promise<DeadLetter[]> {
  const agents = valueOf(await access.http.listAgents(), access.url);
  const ids = new Set(
    agents.filter((agent) =>
      agent.id === target || agent.componentId === target ||
      (agent.label !== undefined && `label:${agent.label}` === target)
    ).map((agent) => agent.id),
  );
  const found = all.filter((letter) => letter.agentId === target || ids.has(letter.agentId));
  if (found.length === 0 && ids.size === 0) {
    throw noRecipient(target, [
      ...all.map((letter) => letter.agentId),
      ...agents.flatMap((
        agent,
      ) => [agent.id, ...(agent.label === undefined ? [] : [`label:${agent.label}`])]),
    ]);
  }
  return found;
}

/** The letters that an id, `--agent` and `--all` mean. */
async function chosen(
  access: RelayAccess,
  { positionals, flags }: Invocation,
  action: Action,
  io: Io,
): Promise<DeadLetter[]> {
  const given = positionals[1];
  const target = typeof flags.agent === "string" ? flags.agent : undefined;
  if (given === undefined && flags.all !== true) {
    throw new RunnerError("E_USAGE", `"dead ${action}" needs the id of a message`, {
      hint: `see "runner dead list"; --all means every one of them`,
    });
  }
  if (given !== undefined && flags.all === true) {
    throw new RunnerError("E_USAGE", `"dead ${action}" takes the id of a message or --all`, {
      hint: "leave one of them out",
    });
  }
  if (given !== undefined && !/^\d{1,15}$/.test(given)) {
    throw new RunnerError("E_USAGE", `"${shown(given)}" is no message id`, {
      hint: `like: runner dead ${action} 42`,
    });
  }
  const all = await letters(access);
  sayIfMore(all, io);
  const scope = target === undefined ? all : await ofAgent(access, all, target);
  const found = given === undefined ? scope : scope.filter((letter) => letter.messageId === Number(given));
  if (found.length > 0 || given === undefined) return found;
  const ids = [...new Set(scope.map((letter) => String(letter.messageId)))];
  const near = nearMisses(given, ids);
  throw new RunnerError("E_NOT_FOUND", `message ${given} is no dead letter`, {
    hint: near.length > 0
      ? `did you mean ${near.join(" or ")}?`
      : ids.length > 0
      ? `dead letters are ${ids.slice(0, 5).join(", ")}`
      : target === undefined
      ? "there are no dead letters"
      : `${shown(target)} has none; see "runner dead list"`,
  });
}

async function show(
  access: RelayAccess,
  found: DeadLetter[],
  { flags }: Invocation,
  io: Io,
): Promise<number> {
  const shownLetters = [];
  for (const letter of found) {
    shownLetters.push({
      ...letter,
      message: valueOf(await access.http.getMessage(letter.messageId), access.url),
    });
  }
  if (flags.json === true) {
    io.out(JSON.stringify({ letters: shownLetters }) + "\n");
    return 0;
  }
  for (const { message, ...letter } of shownLetters) {
    io.out(columns([
      ["message", String(letter.messageId)],
      ["agent", shown(letter.agentId)],
      ["from", shown(letter.from)],
      ["to", shown(letter.to)],
      ...(letter.subject === undefined ? [] : [["subject", shown(letter.subject, 200)]]),
      ["died", new Date(letter.at).toISOString()],
      ["why", shown(letter.reason, 400)],
      ...(letter.generation === 0 ? [] : [["opened again", `${letter.generation} times`]]),
    ]));
    io.out("\n" + foreignText(message.body, { outIsTerminal: true }) + "\n");
  }
  return 0;
}
