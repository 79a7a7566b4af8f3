import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { AgentDirectory } from "../../lib/relay/agents.ts";
import { RelayDatabase } from "../../lib/relay/database.ts";
import { DeadLetters } from "../../lib/relay/dead_letters.ts";
import { MessageStore } from "../../lib/relay/messages.ts";
import { ReceiptStore } from "../../lib/relay/receipts.ts";
import { Retention } from "../../lib/relay/retention.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { withTempDir } from "../support/temp.ts";
import { SCHEMA_2 } from "./schema_2.ts";

const DAY_MS = 86_400_000;
const NOW = 1_800_000_000_000;

/** A relay's store without its server. */
async function withStore(
  work: (store: {
    db: RelayDatabase;
    agents: AgentDirectory;
    messages: MessageStore;
    receipts: ReceiptStore;
    dead: DeadLetters;
    send(ttlMs?: number, to?: string): number;
  }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const db = new RelayDatabase(join(dir, "relay.db"), new FakeClock());
    const agents = new AgentDirectory(db, (agentId) => agentId === "connected");
    const messages = new MessageStore(db, agents);
    const receipts = new ReceiptStore(db, messages);
    const dead = new DeadLetters(db, messages, receipts);
    const send = (ttlMs = DAY_MS, to = "worker") =>
      messages.send({ from: "alice", to, body: "x", queue: true, ttlMs }, NOW).message.id;
    try {
      await work({ db, agents, messages, receipts, dead, send });
    } finally {
      db.close();
    }
  });
}

const step = (db: RelayDatabase, retention: Retention, now: number) => db.write(() => retention.step(now));

Deno.test("a job that fails after it has written takes back only what is its own, and every other is told once", async () => {
  await withStore(async ({ db }) => {
    const before = db.changes;
    const told: string[] = [];
    let runs = 0;
    const put = (name: string) => db.run("INSERT INTO fact (name, value) VALUES (?, 'x')", name);
    const job = (name: string, then = () => {}) =>
      db.write(() => {
        runs++;
        put(name);
        then();
        return name;
      }, (value) => told.push(value));
    const jobs = [
      job("first"),
      job("bad", () => {
        throw new TypeError("after its insert");
      }),
      job("twice", () => put("twice")),
      job("last"),
    ];
    const settled = await Promise.allSettled(jobs);
    assertEquals(settled.map((each) => each.status === "fulfilled" ? each.value : each.reason.message), [
      "first",
      "after its insert",
      "UNIQUE constraint failed: fact.name",
      "last",
    ]);
    assertEquals(told, ["first", "last"]);
    assertEquals(
      db.all<{ name: string }>("SELECT name FROM fact WHERE value = 'x' ORDER BY rowid").map(({ name }) =>
        name
      ),
      ["first", "last"],
    );
    // Until the first that failed, and then all of them, each with a savepoint: the positive control.
    assertEquals(runs, 2 + 4);
    assert(db.changes > before);
    // What comes after is not in the transaction that was taken back.
    assertEquals(await job("later"), "later");
    assertEquals(told, ["first", "last", "later"]);
  });
});

Deno.test("what has ended goes 7 days after its time to live; unread mail and dead letters stay", async () => {
  await withStore(async ({ db, messages, receipts, send }) => {
    const [read, unread, dead] = [send(), send(30 * DAY_MS), send()];
    messages.read(read!, "worker", NOW);
    receipts.report([{ messageId: read!, agentId: "worker", stage: "seen", at: NOW }], NOW);
    receipts.report(
      [{ messageId: dead!, agentId: "worker", stage: "dead", at: NOW, evidence: "too long" }],
      NOW,
    );
    const retention = new Retention(db, messages);
    assertEquals(await step(db, retention, NOW + 7.9 * DAY_MS), 0);
    assertEquals(await step(db, retention, NOW + 8.1 * DAY_MS), 1);
    assertEquals([read, unread, dead].map((id) => messages.exists(id!)), [false, true, true]);
    assertEquals(db.all("SELECT * FROM report WHERE message_id = ?", read!), [], "its receipt goes along");
    assertEquals(await step(db, retention, NOW + 1_000 * DAY_MS), 0);
  });
});

Deno.test("of what has ended only the newest are kept, in steps of bounded work", async () => {
  await withStore(async ({ db, messages, send }) => {
    const open = new Set([3, 700]);
    const ids = await db.write(() => {
      const sent = Array.from({ length: 1_300 }, () => send());
      for (const id of sent) if (!open.has(id)) messages.read(id, "worker", NOW);
      return sent;
    });
    const retention = new Retention(db, messages, 100);
    const removed: number[] = [];
    for (let i = 0; i < 4; i++) removed.push(await step(db, retention, NOW));
    assertEquals(removed, [499, 499, 200, 0]);
    const left = db.all<{ id: number }>("SELECT id FROM message ORDER BY id").map((row) => row.id);
    assertEquals(left, [3, 700, ...ids.slice(-100)]);
    messages.read(3, "worker", NOW);
    assertEquals(await step(db, retention, NOW), 1);
  });
});

Deno.test("a dead letter that its agent or another one has done after all is none any more", async () => {
  await withStore(async ({ messages, receipts, dead, send, db }) => {
    const id = send();
    receipts.report(
      [{ messageId: id, agentId: "worker", stage: "dead", at: NOW, evidence: "too long" }],
      NOW,
    );
    assertEquals(dead.list("worker", 10).map((letter) => letter.messageId), [id]);
    messages.read(id, "worker", NOW);
    assertEquals(dead.list(null, 10), []);
    assertEquals(dead.drop({ messageId: id, agentId: "worker", generation: 0 }, NOW), false);
    assertEquals(receipts.receipt(id)!.recipients.map((each) => [each.read, each.dead]), [[true, undefined]]);
    // A late line of an earlier life changes nothing of the present one.
    const again = send();
    receipts.report([{ messageId: again, agentId: "worker", stage: "dead", at: NOW }], NOW);
    assertEquals(dead.retry({ messageId: again, agentId: "worker", generation: 0 }, NOW), true);
    receipts.report([{ messageId: again, agentId: "worker", stage: "dead", at: NOW + 1 }], NOW);
    assertEquals(dead.list(null, 10), []);
    assertEquals(messages.unread("worker", 0, 10).messages.map((message) => message.generation), [1]);
    receipts.report(
      [{ messageId: again, agentId: "worker", stage: "dead", at: NOW + 2, generation: 1 }],
      NOW,
    );
    assertEquals(dead.list(null, 10).map((letter) => letter.generation), [1]);
    await db.write(() => {});
  });
});

Deno.test("a receipt's version rises with every line, reader and reply, and what is told again is no line", async () => {
  await withStore(async ({ db, messages, receipts, send }) => {
    const id = send();
    const version = () => receipts.receipt(id)!.version;
    const line = { messageId: id, agentId: "worker", deliveryId: "d-1" };
    const versions = [version()];
    const note = () => versions.push(version());
    receipts.report([{ ...line, stage: "received", at: NOW }, { ...line, stage: "seen", at: NOW }], NOW);
    note();
    // In one report with the same line twice, and one of a message that is not here.
    const seen = { ...line, stage: "seen" as const, at: NOW + 5 };
    receipts.report([seen, seen, { ...line, stage: "done", at: NOW }, { ...seen, messageId: 99 }], NOW);
    note();
    messages.read(id, "worker", NOW);
    note();
    messages.send({ from: "worker", to: "alice", body: "answer", replyTo: id }, NOW);
    note();
    assertEquals(versions, [1, 3, 4, 5, 6]);
    const lines = receipts.receipt(id)!.recipients[0]!.reports;
    assertEquals(lines.map(({ stage, at }) => [stage, at]), [["received", NOW], ["seen", NOW], [
      "done",
      NOW,
    ]]);
    // More lines than one insert takes.
    receipts.report(
      Array.from(
        { length: 21 },
        (_, i) => ({ ...line, stage: "retry" as const, at: NOW + i, deliveryId: `d${i}` }),
      ),
      NOW,
    );
    const all = receipts.receipt(id)!.recipients[0]!.reports;
    assertEquals(all.slice(3).map(({ at }) => at), Array.from({ length: 21 }, (_, i) => NOW + i));
    await db.write(() => {});
  });
});

Deno.test("a message is pushed and answered as it is read later", async () => {
  await withStore(async ({ db, messages }) => {
    const parent = messages.send({ from: "alice", to: "worker", body: "x", queue: true }, NOW).message;
    const { message } = messages.send({
      from: "worker",
      to: "alice",
      body: "y",
      queue: true,
      replyTo: parent.id,
      subject: "s",
      channel: "c",
      kind: "k",
      claimable: true,
      replyExpected: true,
      when: "now",
      payload: { a: [1] },
      meta: { b: null },
      idempotencyKey: "key",
      ttlMs: 5_000.5,
    }, NOW);
    assertEquals(message, messages.one(message.id));
    assertEquals(parent, messages.one(parent.id));
    await db.write(() => {});
  });
});

Deno.test("a body with NUL characters is whole whichever way it is read, and any other is as it was", async () => {
  await withStore(async ({ db, messages, receipts, dead }) => {
    const bodies = [
      "a\0b",
      "\0",
      "\0\0ü\0",
      "\ufeffbom\0x",
      "ü".repeat(300) + "\0end",
      "plain",
      "ü€😀",
      "",
      "\ufeffbom",
    ];
    const root = messages.send({ from: "alice", to: "worker", body: "root", queue: true }, NOW).message.id;
    const ids = bodies.map((body) =>
      messages.send({
        from: "worker",
        to: "worker",
        body,
        queue: true,
        replyTo: root,
        payload: { text: body },
        meta: { [body]: 1 },
      }, NOW).message.id
    );
    const read = ids.map((id) => messages.one(id)!);
    assertEquals(read.map(({ body }) => body), bodies);
    assertEquals(read.map(({ payload }) => payload!.text), bodies);
    assertEquals(read.map(({ meta }) => Object.keys(meta!)[0]), bodies);
    assertEquals(messages.unread("worker", root, 100).messages.map(({ body }) => body), bodies);
    assertEquals(ids.map((id) => messages.offer(id, "worker")!.body), bodies);
    assertEquals(messages.thread(root, null).map(({ body }) => body), ["root", ...bodies]);
    assertEquals(receipts.receipt(root)!.replies.map(({ body }) => body), bodies);
    receipts.report(ids.map((messageId) => ({ messageId, agentId: "worker", stage: "dead", at: NOW })), NOW);
    const excerpts = bodies.map((body) => [...body].slice(0, 200).join(""));
    assertEquals(dead.list(null, 100).map(({ excerpt }) => excerpt), excerpts);
    // Half a pair is no text: what is pushed is what is read later.
    const { message } = messages.send({ from: "alice", to: "worker", body: "x\ud800y", queue: true }, NOW);
    assertEquals([message.body, messages.one(message.id)!.body], ["x\ufffdy", "x\ufffdy"]);
    await db.write(() => {});
  });
});

Deno.test("a page of unread mail is counted in bytes", async () => {
  await withStore(async ({ db, messages }) => {
    const body = "€".repeat(500_000);
    for (let i = 0; i < 3; i++) messages.send({ from: "alice", to: "worker", body, queue: true }, NOW);
    const page = messages.unread("worker", 0, 10);
    assertEquals([page.messages.length, page.more], [1, true]);
    await db.write(() => {});
  });
});

Deno.test("a database of version 2 keeps its messages and receipts, in order", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "relay.db");
    const old = new DatabaseSync(path);
    old.exec(SCHEMA_2);
    old.exec(`
      INSERT INTO fact (name, value) VALUES ('storeId', 'store-2'), ('tokenKey', '00');
      INSERT INTO message (id, from_agent, to_target, kind, body, claimable, reply_expected, created_at, version)
        VALUES (7, 'alice', 'worker', 'chat', 'hello', 0, 0, ${NOW}, 4), (8, 'bob', 'worker', 'chat', 'x', 0, 0, ${NOW}, 1);
      INSERT INTO recipient (message_id, agent_id) VALUES (7, 'other'), (7, 'worker'), (8, 'worker');
      INSERT INTO report (id, message_id, agent_id, stage, at, delivery_id, attempt, evidence) VALUES
        (1, 7, 'worker', 'received', 5, NULL, 1, 'journaled'), (2, 8, 'worker', 'received', 6, NULL, 1, 'journaled'),
        (3, 7, 'other', 'received', 4, NULL, 1, 'journaled'), (4, 7, 'worker', 'seen', 3, 'd', 1, 'answer');
    `);
    old.close();
    const db = new RelayDatabase(path, new FakeClock());
    try {
      const messages = new MessageStore(db, new AgentDirectory(db, () => true));
      const receipts = new ReceiptStore(db, messages);
      assertEquals(messages.unread("worker", 0, 10).messages.map(({ id, body }) => [id, body]), [
        [7, "hello"],
        [8, "x"],
      ]);
      const told = (id: number) =>
        receipts.receipt(id)!.recipients.map((
          { agentId, reports },
        ) => [agentId, ...reports.map(({ stage }) => stage)]);
      assertEquals(told(7), [["other", "received"], ["worker", "received", "seen"]]);
      assertEquals(told(8), [["worker", "received"]]);
      receipts.report([{ messageId: 7, agentId: "worker", stage: "seen", at: 9, deliveryId: "d" }], NOW);
      receipts.report([{ messageId: 7, agentId: "worker", stage: "done", at: 9, deliveryId: "d" }], NOW);
      assertEquals(told(7)[1], ["worker", "received", "seen", "done"]);
      db.run("DELETE FROM message WHERE id = 7");
      assertEquals(db.all("SELECT * FROM report WHERE message_id = 7"), []);
    } finally {
      db.close();
    }
  });
});

Deno.test("what an agent says of itself is seen at once and in the database once it was written", async () => {
  await withTempDir(async (dir) => {
    const open = () => {
      const db = new RelayDatabase(join(dir, "relay.db"), new FakeClock());
      return { db, agents: new AgentDirectory(db, () => true) };
    };
    const first = open();
    const card = ({ agents } = first) => {
      const { status, ready, meta, lastSeen } = agents.one("a", NOW)!;
      return { status, ready, meta, lastSeen };
    };
    const register = (instanceId: string) =>
      first.db.write(() =>
        first.agents.register({
          role: "provider",
          componentId: "run-a",
          agentId: "a",
          instanceId,
          capabilities: [],
          tags: [],
          machine: "m",
          meta: {},
        }, NOW)
      );
    const write = async () => first.agents.persisted(await first.db.write(() => first.agents.persist()));
    await register("one");
    first.agents.status("a", { agentStatus: "busy", ready: true, meta: { queued: 3 } }, NOW + 1);
    assertEquals(card(), { status: "busy", ready: true, meta: { queued: 3 }, lastSeen: NOW + 1 });
    assertEquals(first.agents.list({ status: "busy" }, NOW).length, 1);
    const stored = () => first.db.get("SELECT status, ready, last_seen FROM agent WHERE id = 'a'");
    assertEquals({ ...stored()! }, { status: "online", ready: 0, last_seen: NOW });
    // Said again while the first was on its way to the disk: the second is written the next time.
    const written = await first.db.write(() => first.agents.persist());
    first.agents.seen("a", NOW + 2);
    first.agents.persisted(written);
    assertEquals({ ...stored()! }, { status: "busy", ready: 1, last_seen: NOW + 1 });
    assertEquals(card().lastSeen, NOW + 2);
    await first.db.write(() => first.agents.patch("a", { ready: false }));
    assertEquals(card().ready, false);
    await write();
    assertEquals({ ...stored()! }, { status: "busy", ready: 0, last_seen: NOW + 2 });
    // A new instance begins anew, and one that was removed stays so.
    first.agents.status("a", { agentStatus: "error", ready: true }, NOW + 3);
    await register("two");
    assertEquals([card().status, card().ready], ["online", false]);
    first.agents.status("a", { agentStatus: "idle", ready: true }, NOW + 4);
    await write();
    first.db.close();
    const second = open();
    assertEquals([card(second).status, card(second).ready, card(second).lastSeen], ["idle", true, NOW + 4]);
    second.agents.status("a", { agentStatus: "busy" }, NOW + 5);
    await second.db.write(() => second.agents.remove("a"));
    await second.db.write(() => second.agents.persist());
    second.agents.status("a", { agentStatus: "busy" }, NOW + 6);
    assertEquals(second.agents.one("a", NOW), undefined);
    second.db.close();
  });
});

Deno.test("the relay's log is folded into the database once it is at rest, and by no commit before", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "relay.db");
    const clock = new FakeClock();
    const db = new RelayDatabase(path, clock);
    const size = () => Deno.statSync(path).size;
    const before = size();
    const write = (name: string) =>
      db.write(() => db.run("INSERT INTO fact (name, value) VALUES (?, ?)", name, "x".repeat(1_000)));
    for (let i = 0; i < 60; i++) {
      await write(`fact ${i}`);
      await clock.advance(2);
    }
    assertEquals(size(), before, "a commit folded the log in while messages came");
    await clock.advance(3);
    assert(size() > before, "the log was not folded in at rest");
    for (let i = 60; i < 120; i++) await write(`fact ${i}`);
    await clock.advance(3);
    for (let i = 0; i < 60; i++) await db.write(() => db.get("SELECT * FROM fact"));
    assertEquals(clock.pending, 0, "looking is nothing to fold in");
    for (let i = 120; i < 180; i++) await write(`fact ${i}`);
    db.close();
    assertEquals(clock.pending, 0, "a closed database has something to do");
  });
});

Deno.test("mail whose time is over is closed once, in steps, and what ended before is not looked at again", async () => {
  await withStore(async ({ db, messages, send }) => {
    const TTL_MS = 60_000;
    await db.write(() => {
      for (let i = 0; i < 1_500; i++) send(TTL_MS);
    });
    const late = await db.write(() => send(2 * TTL_MS));
    const expire = (now: number, since: number) => db.write(() => messages.expireMessages(now, since));
    assertEquals(await expire(NOW + TTL_MS - 1, 0), { mail: [], through: NOW + TTL_MS - 1 });
    const first = await expire(NOW + TTL_MS, NOW);
    assertEquals([first.mail.length, first.through], [1_000, NOW], "there is more of the same time");
    const second = await expire(NOW + TTL_MS, first.through);
    assertEquals([second.mail.length, second.through], [500, NOW + TTL_MS]);
    // Opened by hand: only who looks at it again finds it.
    db.run("UPDATE recipient SET closed = 0 WHERE message_id = 1");
    const third = await expire(NOW + 2 * TTL_MS, second.through);
    assertEquals(third.mail.map(({ messageId }) => messageId), [late]);
    const whole = await expire(NOW + 2 * TTL_MS, 0);
    assertEquals(whole.mail.map(({ messageId }) => messageId), [1], "positive control");
  });
});

Deno.test("an agent of 30 days ago is forgotten, unless mail waits for it, a dead letter is kept or it is connected", async () => {
  await withStore(async ({ db, agents, messages, receipts, send }) => {
    const register = (agentId: string, at: number) =>
      agents.register({
        role: "provider",
        componentId: `run-${agentId}`,
        agentId,
        instanceId: agentId,
        capabilities: [],
        tags: [],
        machine: "m",
        meta: {},
      }, at);
    const names = ["gone", "mail", "dead", "connected", "heard"];
    await db.write(() => {
      for (const name of names) register(name, NOW);
      const [waits, letter, read] = [send(60 * DAY_MS, "mail"), send(DAY_MS, "dead"), send(DAY_MS, "gone")];
      receipts.report([{ messageId: letter!, agentId: "dead", stage: "dead", at: NOW, evidence: "no" }], NOW);
      messages.read(read!, "gone", NOW);
      return waits;
    });
    const forget = (days: number) => db.write(() => agents.forgetSilent(NOW + days * DAY_MS));
    assertEquals(await forget(29.9), []);
    await db.write(() => {
      agents.seen("heard", NOW + DAY_MS);
      agents.persist();
    });
    assertEquals(await forget(30.1), ["gone"]);
    assertEquals(agents.list({}, NOW).map(({ id }) => id), ["connected", "dead", "heard", "mail"]);
    // Said, and not in the database yet: it is there again.
    agents.seen("heard", NOW + 40 * DAY_MS);
    assertEquals(await forget(40), []);
    // Who comes back registers anew, and no token of before counts.
    const { epoch } = await db.write(() => register("gone", NOW + 41 * DAY_MS));
    assert(epoch > names.length);
  });
});
