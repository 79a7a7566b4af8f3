import { join } from "@std/path";
import { readTokenFile } from "../../lib/config/token.ts";
import type { AgentRecord } from "../support/oracle.ts";
import type { World } from "./world.ts";

const JOURNAL_BYTES = 64 * 1024 * 1024;

/** Invariants that are not about single messages: size of the journals, secrets, commands, incarnations. */
export async function checkHouse(world: World): Promise<string[]> {
  const token = await readTokenFile(join(world.home, "relay.token"));
  const problems: string[] = [];
  for (const agent of world.agents) {
    for (const name of ["journal.db", "journal.db-wal"]) {
      const bytes = sizeOf(join(agent.stateDir, name));
      if (bytes > JOURNAL_BYTES) problems.push(`${agent.id}: ${name} has ${bytes} bytes`);
    }
    const log = textOf(join(world.home, "logs", `${agent.id}.log`));
    for (const text of [log, textOf(join(agent.dir, "stderr.log"))]) {
      if (text.includes(token)) problems.push(`${agent.id}: the relay's token is in a log`);
    }
    const twice = commandsRunTwice(log);
    if (twice.length > 0) problems.push(`${agent.id}: commands ran more than once: ${twice}`);
    const late = recordsOfTheDead(agent.oracle());
    if (late > 0) problems.push(`${agent.id}: ${late} deeds of a provider that had a successor`);
  }
  if (textOf(join(world.options.dir, "relay.log")).includes(token)) {
    problems.push("the relay's token is in its log");
  }
  return problems;
}

/** Ids of lifecycle commands that were begun twice, whoever was running then. */
function commandsRunTwice(log: string): string[] {
  const begun = new Map<string, number>();
  for (const line of log.split("\n")) {
    if (!line.includes('"lifecycle command"')) continue;
    const { commandId } = JSON.parse(line) as { commandId: string };
    begun.set(commandId, (begun.get(commandId) ?? 0) + 1);
  }
  return [...begun].flatMap(([id, count]) => count > 1 ? [id] : []);
}

/** What a process did after the next one had begun: two incarnations lived at once. */
function recordsOfTheDead(records: readonly AgentRecord[]): number {
  let current: number | null = null;
  let count = 0;
  for (const record of records) {
    if (record.type === "start") current = record.pid;
    else if (record.pid !== current) count++;
  }
  return count;
}

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
