import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RelayDatabase } from "../../lib/relay/database.ts";
import type { AgentRecord } from "../support/oracle.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { withTempDir } from "../support/temp.ts";
import { check, type Evidence, type Verdict } from "./checker.ts";

const ID = "delivery-1";
const MARK = "mark-t-0";

/** One message in a small world, told in the records of both ends. Times are small numbers. */
interface Story {
  claimable?: boolean;
  readAt?: number | null;
  records?: AgentRecord[];
  rivalAt?: number;
  crashes?: number[];
  ended?: { at: number; code: number; signal: string | null };
  asked?: { at: number; how: string }[];
}

const seen = (at: number, redelivery = 0): AgentRecord[] => [
  { at: at - 1, pid: 1, type: "accepted", deliveryId: ID },
  { at, pid: 1, type: "seen", deliveryId: ID, marks: [MARK], redelivery },
];
const done = (at: number): AgentRecord => ({ at, pid: 1, type: "ended", deliveryId: ID, how: "done" });

async function verdictOf(story: Story): Promise<Verdict> {
  let verdict!: Verdict;
  await withTempDir((dir) => {
    // The real schema, filled by hand.
    const relay = new RelayDatabase(join(dir, "relay.db"), new FakeClock());
    relay.close();
    const db = new DatabaseSync(join(dir, "relay.db"));
    const claimable = story.claimable === true;
    db.prepare(
      `INSERT INTO message (id, from_agent, to_target, kind, body, claimable, reply_expected, idempotency_key, created_at)
       VALUES (1, 'poster', 'a', 'chat', '', ?, 0, ?, 0)`,
    ).run(claimable ? 1 : 0, MARK);
    const readAt = story.readAt ?? null;
    db.prepare("INSERT INTO recipient (message_id, agent_id, read_at, closed) VALUES (1, 'a', ?, ?)")
      .run(readAt, readAt === null ? 0 : 1);
    db.close();
    if (story.rivalAt !== undefined) {
      const record = { at: story.rivalAt, type: "done", id: 1, claimedAt: story.rivalAt - 1 };
      Deno.writeTextFileSync(join(dir, "rival.jsonl"), JSON.stringify(record) + "\n");
    }
    const posted = { mark: MARK, to: "a", claimable, bytes: 0, sentAt: 0, id: 1, recipients: ["a"] };
    const evidence: Evidence = {
      relayDb: join(dir, "relay.db"),
      options: { dir, leaseMs: 60_000, smallDiskKiB: null },
      outages: [],
      exits: story.ended === undefined
        ? []
        : [{ agent: "a", mark: "a#0", ended: story.ended, asked: story.asked ?? [] }],
      damaged: new Set(),
      problems: [],
      shutdowns: [],
      agents: [{ id: "a", provider: "claude", stateDir: dir, oracle: () => story.records ?? [] }],
      poster: { posted: new Map([[MARK, posted]]) },
      rival: { id: "rival" },
    };
    verdict = check(evidence, (story.crashes ?? []).map((at) => ({ agent: "a", what: "runner", at })));
  });
  return verdict;
}

const CASES: Record<string, { story: Story; wrong: Partial<Verdict> }> = {
  "a message seen and then acked": { story: { records: seen(10), readAt: 20 }, wrong: {} },
  "work done and then acked": {
    story: { claimable: true, records: [...seen(10), done(15)], readAt: 20 },
    wrong: {},
  },
  "an ack without any sight": { story: { readAt: 20 }, wrong: { lost: 1 } },
  "an ack of work that was only seen": {
    story: { claimable: true, records: seen(10), readAt: 20 },
    wrong: { lost: 2 },
  },
  "an ack before the sight": { story: { records: seen(30), readAt: 20 }, wrong: { early: 1 } },
  "a message that was never read": { story: {}, wrong: { stuck: 1 } },
  "a repeat without a reason": {
    story: { records: [...seen(10), ...seen(15, 1)], readAt: 20 },
    wrong: { excessDup: 1 },
  },
  "a repeat after a crash": {
    story: { records: [...seen(10), ...seen(15, 1)], readAt: 20, crashes: [12] },
    wrong: {},
  },
  "a repeat after a crash that does not say so": {
    story: { records: [...seen(10), ...seen(15)], readAt: 20, crashes: [12] },
    wrong: { untagged: 1 },
  },
  "work done by two": {
    story: { claimable: true, records: [...seen(10), done(15)], readAt: 20, rivalAt: 18 },
    wrong: { rivalDup: 1 },
  },
};

for (const [name, { story, wrong }] of Object.entries(CASES)) {
  Deno.test(`the checker's verdict on ${name}`, async () => {
    const verdict = await verdictOf(story);
    const { lost, stuck, early, excessDup, untagged, rivalDup } = verdict;
    const none = { lost: 0, stuck: 0, early: 0, excessDup: 0, untagged: 0, rivalDup: 0 };
    assertEquals({ lost, stuck, early, excessDup, untagged, rivalDup }, { ...none, ...wrong });
    assertEquals(verdict.problems.length > 0, Object.keys(wrong).length > 0);
  });
}

Deno.test("the checker's verdict on ends: too late, with a wrong code, by the watchdog, unasked", async () => {
  const right = { records: seen(10), readAt: 20 };
  const asked = [{ at: 100, how: "SIGTERM" }];
  const ends: [Story, number][] = [
    [{ ...right, asked, ended: { at: 1_000, code: 0, signal: null } }, 0],
    [{ ...right, asked, ended: { at: 14_200, code: 0, signal: null } }, 1],
    [{ ...right, asked, ended: { at: 1_000, code: 70, signal: null } }, 1],
    [{ ...right, asked, ended: { at: 1_000, code: 137, signal: "SIGKILL" } }, 1],
    [{ ...right, ended: { at: 1_000, code: 0, signal: null } }, 1],
    [{ ...right, ended: { at: 1_000, code: 5, signal: null } }, 0],
  ];
  for (const [story, problems] of ends) {
    assertEquals((await verdictOf(story)).problems.length, problems, JSON.stringify(story.ended));
  }
});

Deno.test("the checker counts the kills that found a message in flight", async () => {
  const records = [...seen(10), done(15)];
  const verdict = await verdictOf({ records, readAt: 20, crashes: [5, 9, 12, 17] });
  assertEquals([verdict.kills, verdict.killsInFlight], [4, 2]);
});
