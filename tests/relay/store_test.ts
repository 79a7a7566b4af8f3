import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { AgentDirectory } from "../../lib/relay/agents.ts";
import { RelayDatabase } from "../../lib/relay/database.ts";
import { DeadLetters } from "../../lib/relay/dead_letters.ts";
import { MessageStore } from "../../lib/relay/messages.ts";
import { ReceiptStore } from "../../lib/relay/receipts.ts";
import { Retention } from "../../lib/relay/retention.ts";
import { withTempDir } from "../support/temp.ts";

const DAY_MS = 86_400_000;
const NOW = 1_800_000_000_000;

/** A relay's store without its server. */
async function withStore(
  work: (store: {
    db: RelayDatabase;
    messages: MessageStore;
    receipts: ReceiptStore;
    dead: DeadLetters;
    send(ttlMs?: number): number;
  }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const db = new RelayDatabase(join(dir, "relay.db"));
    const messages = new MessageStore(db, new AgentDirectory(db, () => true), 60_000);
    const receipts = new ReceiptStore(db, messages);
    const dead = new DeadLetters(db, messages, receipts);
    const send = (ttlMs = DAY_MS) =>
      messages.send({ from: "alice", to: "worker", body: "x", queue: true, ttlMs }, NOW).message.id;
    try {
      await work({ db, messages, receipts, dead, send });
    } finally {
      db.close();
    }
  });
}

const step = (db: RelayDatabase, retention: Retention, now: number) => db.write(() => retention.step(now));

Deno.test("what has ended goes 7 days after its time to live; unread mail and dead letters stay", async () => {
  await withStore(async ({ db, messages, receipts, send }) => {
    const [read, unread, dead] = [send(), send(30 * DAY_MS), send()];
    messages.read(read!, "worker", NOW);
    receipts.report({ messageId: read!, agentId: "worker", stage: "seen", at: NOW });
    receipts.report({ messageId: dead!, agentId: "worker", stage: "dead", at: NOW, evidence: "too long" });
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
    receipts.report({ messageId: id, agentId: "worker", stage: "dead", at: NOW, evidence: "too long" });
    assertEquals(dead.list("worker", 10).map((letter) => letter.messageId), [id]);
    messages.read(id, "worker", NOW);
    assertEquals(dead.list(null, 10), []);
    assertEquals(dead.drop({ messageId: id, agentId: "worker", generation: 0 }, NOW), false);
    assertEquals(receipts.receipt(id)!.recipients.map((each) => [each.read, each.dead]), [[true, undefined]]);
    // A late line of an earlier life changes nothing of the present one.
    const again = send();
    receipts.report({ messageId: again, agentId: "worker", stage: "dead", at: NOW });
    assertEquals(dead.retry({ messageId: again, agentId: "worker", generation: 0 }, NOW), true);
    receipts.report({ messageId: again, agentId: "worker", stage: "dead", at: NOW + 1 });
    assertEquals(dead.list(null, 10), []);
    assertEquals(messages.unread("worker", 0, 10, NOW).map((message) => message.generation), [1]);
    receipts.report({ messageId: again, agentId: "worker", stage: "dead", at: NOW + 2, generation: 1 });
    assertEquals(dead.list(null, 10).map((letter) => letter.generation), [1]);
    await db.write(() => {});
  });
});
