import { join } from "@std/path";
import { type AgentRecord, readOracle } from "../support/oracle.ts";
import type { Crash } from "./nemesis.ts";
import { readRelay, type StoredMessage } from "./relay_record.ts";
import type { RivalRecord } from "./rival.ts";
import { type Sight, sightsOf, type Witness } from "./seen.ts";
import type { Exit, World } from "./world.ts";

/** How long the drain of the runners here may take, and what an orderly end may take beyond it. */
const DRAIN_MS = 2_000;
const END_SLACK_MS = 12_000;
/** A hard end: 2 s with five times slack. */
const HARD_MS = 10_000;

/** What is looked at of a world that has ended: its own records, nothing that the product says of itself. */
export interface Evidence
  extends Pick<World, "relayDb" | "outages" | "exits" | "damaged" | "problems" | "shutdowns"> {
  options: Pick<World["options"], "dir" | "leaseMs" | "smallDiskKiB">;
  agents: readonly Witness[];
  poster: Pick<World["poster"], "posted">;
  rival: Pick<World["rival"], "id">;
}

/** What the invariants say of one world. */
export interface Verdict {
  posted: number;
  acked: number;
  lost: number;
  stuck: number;
  dup: number;
  excessDup: number;
  untagged: number;
  rivalDup: number;
  rivalDupExplained: number;
  dead: number;
  early: number;
  kills: number;
  killsInFlight: number;
  maxDrainMs: number;
  problems: string[];
}

/** Holds the oracle logs of a world that has ended against the invariants. */
export function check(world: Evidence, crashes: readonly Crash[]): Verdict {
  const { storeId, messages } = readRelay(world.relayDb);
  const verdict: Verdict = {
    posted: 0,
    acked: 0,
    lost: 0,
    stuck: 0,
    dup: 0,
    excessDup: 0,
    untagged: 0,
    rivalDup: 0,
    rivalDupExplained: 0,
    dead: 0,
    early: 0,
    kills: crashes.length,
    killsInFlight: 0,
    maxDrainMs: 0,
    problems: [...world.problems],
  };
  const sights = new Map(
    world.agents.map((agent) => [agent.id, sightsOf(agent, storeId, messages.values())]),
  );
  const rival = new Map(
    readOracle<RivalRecord>(join(world.options.dir, "rival.jsonl")).map((record) => [record.id, record]),
  );
  for (const posted of world.poster.posted.values()) {
    verdict.posted++;
    const stored = messages.get(posted.mark);
    if (stored === undefined) {
      if (posted.id !== null) {
        lose(verdict, `${posted.mark} was stored as ${posted.id} and is not at the relay`);
      }
      continue;
    }
    checkMessage(world, verdict, stored, sights, rival.get(stored.id));
  }
  for (const agent of world.agents) {
    for (const [mark, seen] of sights.get(agent.id)!) {
      checkDuplicates(world, verdict, agent.id, mark, seen, crashes, messages.get(mark)?.claimable === true);
    }
    if (agent.provider !== "echo") {
      verdict.killsInFlight += inFlight(crashes.filter((each) => each.agent === agent.id), agent.oracle());
    }
  }
  for (const exit of world.exits) checkExit(world, verdict, exit);
  return verdict;
}

function lose(verdict: Verdict, text: string): void {
  verdict.lost++;
  verdict.problems.push(`lost: ${text}`);
}

function checkMessage(
  world: Evidence,
  verdict: Verdict,
  stored: StoredMessage,
  sights: Map<string, Map<string, Sight[]>>,
  rival: RivalRecord | undefined,
): void {
  const name = `${stored.mark} (${stored.id})`;
  const doers: { agent: string; from: number; doneAt: number }[] = [];
  for (const recipient of stored.recipients) {
    const seen = sights.get(recipient.agent)?.get(stored.mark) ?? [];
    for (const sight of seen) {
      if (sight.doneAt !== null) {
        doers.push({ agent: recipient.agent, from: sight.acceptedAt ?? 0, doneAt: sight.doneAt });
      }
    }
    if (recipient.dead) verdict.dead++;
    else if (!recipient.closed) {
      verdict.stuck++;
      verdict.problems.push(`stuck: ${name} at ${recipient.agent}`);
    }
    if (recipient.readAt === null) continue;
    verdict.acked++;
    if (!sights.has(recipient.agent)) continue;
    const proofs = stored.claimable ? seen.filter((sight) => sight.doneAt !== null) : seen;
    if (proofs.length === 0) {
      lose(
        verdict,
        `${name} was acked by ${recipient.agent}, which never ${stored.claimable ? "did" : "saw"} it`,
      );
    } // Echo keeps no times, and the clock of both is the same machine's.
    else if (
      !proofs.some((sight) => ((stored.claimable ? sight.doneAt : sight.at) ?? 0) <= recipient.readAt!)
    ) {
      verdict.early++;
      verdict.problems.push(`early ack: ${name} by ${recipient.agent}`);
    }
  }
  if (!stored.claimable) return;
  if (rival !== undefined) doers.push({ agent: world.rival.id, from: rival.claimedAt, doneAt: rival.at });
  const agents = new Set(doers.map((doer) => doer.agent));
  if (agents.size > 1) {
    const from = Math.min(...doers.map((doer) => doer.from));
    const to = Math.max(...doers.map((doer) => doer.doneAt));
    // A lease can lapse only when its holder, or the relay, was away for a good part of it.
    const away = world.outages.some((outage) =>
      (outage.agent === null || agents.has(outage.agent)) && outage.from <= to && outage.to >= from &&
      Math.min(outage.to, to) - Math.max(outage.from, from) >= world.options.leaseMs * 0.3
    );
    if (away) verdict.rivalDupExplained++;
    else {
      verdict.rivalDup++;
      verdict.problems.push(`done by two: ${name} ${JSON.stringify(doers)}`);
    }
  }
  if (stored.recipients.every((recipient) => recipient.closed) && doers.length === 0) {
    lose(verdict, `${name} was done by nobody`);
  }
}

/** One sight is right; more need a crash while the message was in flight, or a turn that was cut, each. */
function checkDuplicates(
  world: Evidence,
  verdict: Verdict,
  agent: string,
  mark: string,
  seen: Sight[],
  crashes: readonly Crash[],
  claimable: boolean,
): void {
  if (seen.length <= 1) return;
  verdict.dup += seen.length - 1;
  const timed = seen.every((sight) => sight.at !== null);
  const from = timed ? seen[0]!.acceptedAt ?? seen[0]!.at! : 0;
  const to = timed ? seen.at(-1)!.at! : Infinity;
  const reasons =
    crashes.filter((crash) => crash.agent === agent && crash.at >= from - 50 && crash.at <= to).length +
    world.exits.filter((exit) => exit.agent === agent && exit.ended.at >= from && exit.ended.at <= to)
      .length +
    (claimable ? seen.filter((sight) => sight.cut).length : 0);
  if (seen.length > 1 + reasons) {
    verdict.excessDup++;
    verdict.problems.push(
      `seen too often: ${mark} at ${agent} ${seen.length} times, ${reasons} reasons: ${JSON.stringify(seen)}`,
    );
  }
  // Damage to the journal takes the count with it.
  if (world.damaged.has(agent)) return;
  for (const sight of seen.slice(1)) {
    if (sight.redelivery !== 0) continue;
    verdict.untagged++;
    verdict.problems.push(`untagged: ${mark} at ${agent}: ${JSON.stringify(seen)}`);
  }
}

function inFlight(crashes: readonly Crash[], records: readonly AgentRecord[]): number {
  let count = 0;
  for (const crash of crashes) {
    const open = new Set<string>();
    for (const record of records) {
      if (record.at > crash.at) break;
      if (record.type === "start") open.clear();
      else if (record.type === "accepted") open.add(record.deliveryId);
      else if (record.type === "ended") open.delete(record.deliveryId);
    }
    if (open.size > 0) count++;
  }
  return count;
}

function checkExit(world: Evidence, verdict: Verdict, exit: Exit): void {
  const { asked, ended, agent, mark } = exit;
  const say = (what: string) => {
    verdict.problems.push(`exit of ${mark}: ${what} ${JSON.stringify({ ended, asked })}`);
  };
  const how = asked.map((each) => each.how);
  const killed = how.includes("SIGKILL");
  if (killed) return;
  // A stopped process cannot end: that time is not its own.
  const frozen = world.outages.filter((outage) => outage.agent === agent && outage.kind === "stopped");
  const tookMs = (from: number) =>
    ended.at - from - frozen.reduce((sum, outage) => {
      const overlap = Math.min(outage.to, ended.at) - Math.max(outage.from, from);
      return sum + Math.max(0, overlap);
    }, 0);
  const first = asked.find((each) => /^SIG|shutdown|kill/.test(each.how));
  if (first !== undefined) {
    const soft = tookMs(first.at);
    verdict.maxDrainMs = Math.max(verdict.maxDrainMs, soft);
    if (soft > DRAIN_MS + END_SLACK_MS) say(`took ${soft} ms`);
    const second = asked.filter((each) => each.how.startsWith("SIG"))[1];
    if (second !== undefined && tookMs(second.at) > HARD_MS) {
      say(`took ${tookMs(second.at)} ms after the second signal`);
    }
  }
  if (ended.signal === "SIGKILL") return say("ended by its own watchdog");
  const told = first !== undefined ||
    world.shutdowns.some((each) =>
      each.agent === agent && each.at <= ended.at && ended.at - each.at < 20_000
    );
  const storage = how.includes("read-only") || world.options.smallDiskKiB !== null;
  // 5: a crash loop; 6: a run that is dying still held the lock; 7: the disk refused.
  const right = (ended.code === 0 && told) || ([129, 143].includes(ended.code) && first !== undefined) ||
    ended.code === 5 || ended.code === 6 || (ended.code === 7 && storage);
  if (!right) say(`code ${ended.code}`);
}
