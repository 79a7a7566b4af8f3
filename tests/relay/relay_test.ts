import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { RunnerError } from "../../lib/base/errors.ts";
import type { SendInput } from "../../lib/protocol/message.ts";
import type { RelayServer } from "../../lib/relay/contract.ts";
import { RelayDatabase } from "../../lib/relay/database.ts";
import { httpOf, ShiftedClock, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { until, withTempDir } from "../support/temp.ts";

async function withRelay(
  work: (relay: RelayServer, dir: string, clock: ShiftedClock) => Promise<void>,
  options: { leaseMs?: number; token?: string | null } = {},
): Promise<void> {
  await withTempDir(async (dir) => {
    const clock = new ShiftedClock();
    const relay = await testRelay(dir, { clock, ...options });
    try {
      await work(relay, dir, clock);
    } finally {
      await relay.stop();
    }
  });
}

const mail = (to: string, body: string, more: Partial<SendInput> = {}): SendInput => ({
  from: "sender",
  to,
  body,
  ...more,
});

Deno.test("send fixes its recipients by id, broadcast, label, tag and cap when it is sent", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a", { label: "api", tags: ["x"], caps: ["review"] }).join();
    const b = await new TestAgent(relay.url, "b", { tags: ["x", "y"] }).join();
    const recipients = async (to: string) => {
      const sent = await http.send(mail(to, "m"));
      return sent.ok ? sent.value.recipients : sent.kind;
    };
    assertEquals(await recipients("a"), ["a"]);
    assertEquals(await recipients("broadcast"), ["a", "b"]);
    assertEquals(await recipients("label:api"), ["a"]);
    assertEquals(await recipients("tag:x"), ["a", "b"]);
    assertEquals(await recipients("cap:review"), ["a"]);
    assertEquals(await recipients("label:undefined"), "rejected");
    assertEquals(await recipients("run-a"), "rejected");
    assertEquals(await recipients("no such"), "rejected");
    const late = await new TestAgent(relay.url, "late", { tags: ["x"] }).join();
    await a.untilGot("m", 5);
    assertEquals(late.messages, []);
    for (const agent of [a, b, late]) await agent.bus.close();
  });
});

Deno.test("send stores one message for one idempotency key", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    const results = await Promise.all(
      Array.from({ length: 20 }, () => http.send(mail("a", "once", { idempotencyKey: "k" }))),
    );
    const ids = new Set(results.map((result) => result.ok ? result.value.message.id : -1));
    assertEquals([ids.size, results.filter((result) => result.ok && !result.value.duplicate).length], [1, 1]);
    await agent.untilGot("once");
    await agent.bus.close();
  });
});

Deno.test("a claim goes to exactly one of many who ask at once, and is idempotent for its holder", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const agents = await Promise.all(
      Array.from({ length: 8 }, (_, i) => new TestAgent(relay.url, `a${i}`).join()),
    );
    for (let round = 0; round < 10; round++) {
      const sent = await http.send(mail("tag:test", `work ${round}`, { claimable: true }));
      assert(sent.ok);
      const { id } = sent.value.message;
      const grants = await Promise.all(agents.map((agent) => agent.bus.claim(id)));
      const won = grants.flatMap((grant, i) => grant.ok ? [i] : []);
      assertEquals(won.length, 1);
      assert(grants.every((grant) => grant.ok || grant.kind === "lost"));
      assertEquals((await agents[won[0]!]!.bus.claim(id)).ok, true);
      const other = agents[(won[0]! + 1) % 8]!;
      assertEquals((await other.bus.markRead([id])).ok, false, "somebody else marked held work read");
    }
    for (const agent of agents) await agent.bus.close();
  });
});

Deno.test("a lease that lapses or is given back is offered again, and a holder cannot renew what another took", async () => {
  await withRelay(async (relay, _dir, clock) => {
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a").join();
    const b = await new TestAgent(relay.url, "b").join();
    const sent = await http.send(mail("tag:test", "work", { claimable: true }));
    assert(sent.ok);
    const { id } = sent.value.message;
    await b.untilGot("work");
    assertEquals((await a.bus.claim(id)).ok, true);
    assertEquals((await a.bus.renew(id)).ok, true);
    await a.bus.release(id);
    await b.untilGot("work", 2);
    assertEquals((await a.bus.claim(id)).ok, true);
    // In two steps, with a word of both between them: a socket that is silent for a minute is dropped.
    clock.shiftMs += 31_000;
    for (const { bus } of [a, b]) assert(await bus.statusAsync({ agentStatus: "idle", ready: true }));
    clock.shiftMs += 31_000;
    await b.untilGot("work", 3);
    assertEquals((await b.bus.claim(id)).ok, true);
    const late = await a.bus.renew(id);
    assertEquals(late.ok ? "" : late.kind, "lost");
    assertEquals((await b.bus.markRead([id])).ok, true);
    const after = await a.bus.claim(id);
    assertEquals(after.ok ? "" : after.kind, "lost", "work that is done was granted again");
    for (const agent of [a, b]) await agent.bus.close();
  });
});

Deno.test("work that another agent held when an agent came is offered to it once it is free", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a").join();
    const gone = await new TestAgent(relay.url, "b").join();
    const sent = await http.send(mail("tag:test", "work", { claimable: true }));
    assert(sent.ok);
    await gone.bus.close();
    assertEquals((await a.bus.claim(sent.value.message.id)).ok, true);
    const b = await new TestAgent(relay.url, "b").join();
    assertEquals(b.messages, []);
    await a.bus.release(sent.value.message.id);
    await b.untilGot("work");
    for (const agent of [a, b]) await agent.bus.close();
  });
});

Deno.test("an agent gets what is sent at once, from all doors, in the order of the ids and each once", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    const peer = await new TestAgent(relay.url, "peer").join();
    const sends = Array.from(
      { length: 600 },
      (_, i) =>
        i % 20 === 0
          ? http.send(mail("a", `m${i}`))
          : peer.bus.send({ from: "peer", to: "a", body: `m${i}` }),
    );
    assertEquals((await Promise.all(sends)).every(({ ok }) => ok), true);
    await until("all of it", () => agent.messages.length >= 600);
    const ids = agent.messages.map(({ id }) => id);
    assertEquals(ids, Array.from({ length: 600 }, (_, i) => i + 1));
    for (const each of [agent, peer]) await each.bus.close();
  });
});

Deno.test("unread mail is offered again after a reconnect, read mail is not", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const first = await new TestAgent(relay.url, "a").join();
    for (const body of ["one", "two", "three"]) await http.send(mail("a", body));
    await first.untilGot("three");
    await first.bus.markRead([1]);
    await first.bus.close();
    const second = await new TestAgent(relay.url, "a").join();
    await second.untilGot("three");
    assertEquals(second.messages.map((message) => message.body), ["two", "three"]);
    await second.bus.close();
  });
});

Deno.test("a new instance of an agent replaces the old one and fences its token", async () => {
  await withRelay(async (relay) => {
    const first = await new TestAgent(relay.url, "a").join();
    const oldToken = first.bus.agentToken;
    const second = await new TestAgent(relay.url, "a").join();
    await until("the replacement", () => first.states.some((state) => state.state === "waiting"));
    const waiting = first.states.find((state) => state.state === "waiting");
    assertEquals(waiting?.state === "waiting" ? waiting.reason.kind : "", "replaced");
    await first.bus.close();
    const stale = await httpOf(relay, oldToken).listUnread("a");
    assertEquals(stale.ok ? "" : stale.kind, "auth");
    assertEquals((await httpOf(relay, second.bus.agentToken).listUnread("a")).ok, true);
    await second.bus.close();
  });
});

Deno.test("an agent's token speaks only as that agent", async () => {
  await withRelay(async (relay) => {
    const a = await new TestAgent(relay.url, "a").join();
    const b = await new TestAgent(relay.url, "b").join();
    const asA = httpOf(relay, a.bus.agentToken);
    await httpOf(relay).send(mail("b", "for b only", { claimable: true }));
    const refused = [
      await asA.send(mail("b", "forged", { from: "b" })),
      await asA.listUnread("b"),
      await asA.getMessage(1),
      await asA.receipt(1),
      await asA.markRead(1, "b"),
      await asA.claimMessage(1, { agentId: "b" }),
      await asA.deleteAgent("b"),
      await asA.createCommand({ type: "agent.kill", target: "b" }),
      await asA.reportStages([{ messageId: 1, agentId: "b", stage: "seen", at: 1 }]),
      await asA.yieldRelay(),
    ];
    assertEquals(refused.map((result) => result.ok ? "ok" : result.kind), Array(10).fill("auth"));
    assertEquals((await asA.send(mail("b", "mine", { from: "a" }))).ok, true);
    assertEquals((await httpOf(relay).receipt(1)).ok, true);
    for (const agent of [a, b]) await agent.bus.close();
  });
});

Deno.test("a stopped or silent agent is not ready at once, then stale, then offline", async () => {
  await withRelay(async (relay, _dir, clock) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    const card = async () => {
      const result = await http.getAgent("a");
      assert(result.ok);
      return [result.value.status, result.value.ready];
    };
    assertEquals(await card(), ["idle", true]);
    await agent.bus.close();
    await until("not ready", async () => (await card())[1] === false);
    assertEquals(await card(), ["idle", false]);
    clock.shiftMs += 11_000;
    assertEquals(await card(), ["stale", false]);
    clock.shiftMs += 300_000;
    assertEquals(await card(), ["offline", false]);
    const group = await http.send(mail("broadcast", "anybody?"));
    assertEquals(group.ok, false, "an offline agent got a broadcast");
    assertEquals((await http.send(mail("a", "direct mail waits"))).ok, true);
  });
});

Deno.test("mail for nobody yet is kept with queue, adopted by the first match, and expires", async () => {
  await withRelay(async (relay, _dir, clock) => {
    const http = httpOf(relay);
    assertEquals((await http.send(mail("label:later", "kept", { queue: true }))).ok, true);
    assertEquals((await http.send(mail("label:later", "too old", { queue: true, ttlMs: 5_000 }))).ok, true);
    const other = await new TestAgent(relay.url, "other").join();
    assertEquals((await http.send(mail("other", "as old", { ttlMs: 5_000 }))).ok, true);
    const isExpired = async (id: number) => {
      const receipt = await http.receipt(id);
      return receipt.ok && receipt.value.recipients[0]!.reports.some((report) => report.stage === "expired");
    };
    clock.shiftMs += 10_000;
    await until("the sweep, which ends all of them", () => isExpired(3));
    const agent = await new TestAgent(relay.url, "a", { label: "later" }).join();
    await agent.untilGot("kept");
    assertEquals(agent.messages.map((message) => message.body), ["kept"]);
    clock.shiftMs += 8 * 86_400_000;
    await until("the expiry", () => isExpired(1));
    for (const each of [agent, other]) await each.bus.close();
  });
});

Deno.test("mail expires in its time also when the wall clock was set back over the expiry of other mail", async () => {
  await withRelay(async (relay, _dir, clock) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    await agent.bus.close();
    const send = async (ttlMs: number) => {
      const sent = await http.send(mail("a", "m", { ttlMs }));
      return sent.ok ? sent.value.message.id : NaN;
    };
    const expired = (id: number) => async () => {
      const receipt = await http.receipt(id);
      return receipt.ok && receipt.value.recipients[0]!.reports.some((report) => report.stage === "expired");
    };
    const early = await send(60_000);
    clock.shiftMs += 3_600_000;
    await until("the first expiry", expired(early));
    clock.shiftMs -= 3_500_000;
    const late = await send(60_000);
    clock.shiftMs += 70_000;
    await until("the expiry in a time that was lived through before", expired(late));
  });
});

Deno.test("commands go to their target once, move forward only, and expire when nobody takes them", async () => {
  await withRelay(async (relay, _dir, clock) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    const created = await http.createCommand({ type: "agent.restart", target: "a" });
    assert(created.ok);
    await until("the command", () => agent.commands.length === 1);
    const { id } = created.value;
    for (const status of ["accepted", "running", "accepted", "succeeded", "failed"] as const) {
      await agent.bus.updateCommand({ commandId: id, status });
    }
    const done = await http.getCommand(id);
    assertEquals(done.ok ? done.value.status : "", "succeeded");
    const nobody = await http.createCommand({ type: "agent.restart", target: "nobody" });
    assert(nobody.ok);
    const waiting = http.getCommand(nobody.value.id, 20_000);
    clock.shiftMs += 61_000;
    await until("the expiry", async () => {
      const command = await http.getCommand(nobody.value.id);
      return command.ok && command.value.status === "expired";
    });
    await waiting;
    assertEquals(agent.commands, ["agent.restart"]);
    await agent.bus.close();
  });
});

Deno.test("a receipt's long poll answers on the next report, and a reply is kept for a sender that is no agent", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "a").join();
    await http.send(mail("a", "question", { replyExpected: true }));
    const before = await http.receipt(1);
    assert(before.ok);
    const poll = http.receipt(1, { after: before.value.version, waitMs: 20_000 });
    await agent.bus.send({ from: "a", to: "sender", body: "answer", replyTo: 1 });
    const after = await poll;
    assert(after.ok);
    assertEquals(after.value.replies.map((reply) => [reply.body, reply.threadId]), [["answer", 1]]);
    await agent.bus.close();
  });
});

Deno.test("requests without token, from a web page or for another host change nothing", async () => {
  await withRelay(async (relay) => {
    const base = relay.url;
    const { port } = relay;
    const body = JSON.stringify(mail("x", "forged", { queue: true }));
    const json = { "content-type": "application/json" };
    const call = (headers: Record<string, string>) =>
      raw(port, "POST /api/messages", { "host": `127.0.0.1:${port}`, ...json, ...headers }, body);
    assertEquals(await call({}), 401);
    assertEquals(await call({ "x-agent-relay-token": "wrong" }), 401);
    for (const origin of ["null", "https://evil.example", `http://localhost:${port}`, "file://"]) {
      assertEquals(await call({ "x-agent-relay-token": TOKEN, origin }), 403, origin);
    }
    for (
      const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", "127.0.0.1:1", `0.0.0.0:${port}`]
    ) {
      assertEquals(await call({ "x-agent-relay-token": TOKEN, host }), 403, host);
    }
    assertEquals(await call({ "x-agent-relay-token": TOKEN, "content-type": "text/plain" }), 415);
    assertEquals(await call({ "x-agent-relay-token": TOKEN }), 201, "the positive control");
    const cursor =
      await (await fetch(`${base}/api/messages/cursor`, { headers: { "x-agent-relay-token": TOKEN } }))
        .json();
    assertEquals(cursor, { cursor: 1 });
  });
});

/** A request with exactly these headers; fetch would not send some of them. Returns the status. */
async function raw(
  port: number,
  line: string,
  headers: Record<string, string>,
  body: string,
): Promise<number> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const [method, path] = line.split(" ");
  const head = Object.entries({ ...headers, "content-length": String(body.length), connection: "close" })
    .map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const writer = socket.writable.getWriter();
  await writer.write(new TextEncoder().encode(`${method} ${path} HTTP/1.1\r\n${head}\r\n${body}`));
  const answer = await new Response(socket.readable).text();
  return Number(answer.split(" ")[1]);
}

Deno.test("a relay keeps its store over a restart, refuses a second process on it and a newer schema", async () => {
  await withTempDir(async (dir) => {
    const first = await testRelay(dir);
    const { storeId } = first;
    await httpOf(first).send(mail("a", "kept", { queue: true }));
    const busy = await assertRejects(() => testRelay(dir), RunnerError);
    assertEquals(busy.code, "E_STATE");
    const taken = await assertRejects(() => testRelay(join(dir, "other"), { port: first.port }), RunnerError);
    assertEquals(taken.code, "E_RELAY_PORT");
    await first.stop();
    const second = await testRelay(dir);
    assertEquals(second.storeId, storeId);
    const unread = await httpOf(second).listUnread("a");
    assertEquals(unread.ok ? unread.value.map((message) => message.body) : unread, ["kept"]);
    await second.stop();
    const db = new DatabaseSync(join(dir, "relay.db"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    const newer = await assertRejects(() => testRelay(dir), RunnerError);
    assertEquals([newer.code, /newer/.test(newer.message)], ["E_STATE", true]);
  });
});

Deno.test("a write that fails takes back only itself when others share its commit", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const results = await Promise.all([
      http.send(mail("a", "one", { queue: true })),
      http.send(mail("nobody", "refused")),
      http.send(mail("a", "two", { queue: true })),
    ]);
    assertEquals(results.map((result) => result.ok), [true, false, true]);
    const unread = await http.listUnread("a");
    assertEquals(unread.ok ? unread.value.length : 0, 2);
  });
});

Deno.test("a write that the database refuses is its own failure, not that of the others in its commit", async () => {
  await withTempDir(async (dir) => {
    const db = new RelayDatabase(join(dir, "relay.db"), new FakeClock());
    try {
      const bad = db.write(() => db.run("INSERT INTO fact (name, value) VALUES (?, ?)", "bad", null));
      const broken = db.write(() => (undefined as unknown as { x: { y: string } }).x.y);
      const good = db.write(() => db.run("INSERT INTO fact (name, value) VALUES (?, ?)", "good", "1"));
      await assertRejects(() => bad, Error, "NOT NULL");
      await assertRejects(() => broken, TypeError);
      assertEquals((await good).changes, 1);
    } finally {
      db.close();
    }
  });
});

Deno.test("times with fractions are taken, and harm nobody who shares their commit", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const agent = await new TestAgent(relay.url, "api").join();
    const [odd, even] = await Promise.all([
      http.send({ from: "me", to: "api", body: "odd", ttlMs: 90_000.5 }),
      http.send({ from: "me", to: "api", body: "even" }),
    ]);
    assertEquals([odd.ok, even.ok], [true, true]);
    const command = await http.createCommand({ type: "agent.restart", target: "api", ttlMs: 5_000.25 });
    assertEquals(command.ok, true);
    const messageId = odd.ok ? odd.value.message.id : 0;
    const told = await agent.bus.reportStages([{ messageId, agentId: "api", stage: "received", at: 12.5 }]);
    assertEquals(told.ok, true);
    await agent.bus.close();
  });
});

Deno.test("the event stream tells what happens until the relay stops", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const response = await fetch(`${relay.url}/api/events`, { headers: { "x-agent-relay-token": TOKEN } });
    const text = response.text();
    await httpOf(relay).send(mail("a", "seen on the stream", { queue: true }));
    await relay.stop();
    assert((await text).includes("event: message.new"));
  });
});

Deno.test("a relay that is started after a month forgets who was not there since, and tells who listens", async () => {
  await withTempDir(async (dir) => {
    const before = await testRelay(dir);
    const agent = await new TestAgent(before.url, "a", { label: "api" }).join();
    await agent.bus.close();
    await before.stop();
    const clock = new FakeClock(Date.now() + 31 * 86_400_000);
    const relay = await testRelay(dir, { clock });
    const response = await fetch(`${relay.url}/api/events`, { headers: { "x-agent-relay-token": TOKEN } });
    const text = response.text();
    const ids = async () => {
      const agents = await httpOf(relay).listAgents({});
      return agents.ok ? agents.value.map(({ id }) => id) : agents.message;
    };
    assertEquals(await ids(), ["a"]);
    for (let i = 0; i < 3; i++) await clock.advance(1_000);
    await until("the retention", async () => (await ids()).length === 0);
    await relay.stop();
    assert((await text).includes('event: agent.removed\ndata: {"agentId":"a"}'));
  });
});

Deno.test("work is done by its holder after its time to live, and given back then it is offered to nobody", async () => {
  await withTempDir(async (dir) => {
    const clock = new ShiftedClock();
    const relay = await testRelay(dir, { clock });
    const http = httpOf(relay);
    const a = await new TestAgent(relay.url, "a").join();
    const b = await new TestAgent(relay.url, "b").join();
    const work = async () => {
      const sent = await http.send({ from: "s", to: "tag:test", body: "w", claimable: true, ttlMs: 20_000 });
      assert(sent.ok && (await a.bus.claim(sent.value.message.id)).ok);
      return sent.value.message.id;
    };
    const [done, given] = [await work(), await work()];
    const mail = await http.send({ from: "s", to: "b", body: "mail", ttlMs: 20_000 });
    assert(mail.ok);
    await b.untilGot("mail");
    clock.shiftMs += 21_000;
    await until("a sweep", async () => {
      const receipt = await http.receipt(mail.value.message.id);
      return receipt.ok && receipt.value.recipients[0]?.reports[0]?.stage === "expired";
    });
    assertEquals((await a.bus.renew(done)).ok, true);
    assertEquals((await a.bus.markRead([done])).ok, true);
    const got = b.messages.length;
    assertEquals((await a.bus.release(given)).ok, true);
    const receipts = await Promise.all([done, given].map((id) => http.receipt(id)));
    assertEquals(
      receipts.map((receipt) =>
        receipt.ok && receipt.value.recipients.map(({ read, reports }) => [read, reports.map((r) => r.stage)])
      ),
      [[[true, []], [false, []]], [[false, ["expired"]], [false, ["expired"]]]],
    );
    assertEquals((await b.bus.claim(given)).ok, false);
    assertEquals(b.messages.length, got);
    for (const each of [a, b]) await each.bus.close();
    await relay.stop();
  });
});

Deno.test("mail that waits for somebody else, however much, keeps none from an agent that comes", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    for (let sent = 0; sent < 1_100; sent += 100) {
      const more = Array.from({ length: 100 }, () => http.send(mail("label:never", "n", { queue: true })));
      assert((await Promise.all(more)).every(({ ok }) => ok));
    }
    for (const to of ["label:late", "tag:x", "cap:review", "late", "broadcast"]) {
      assert((await http.send(mail(to, to, { queue: true }))).ok);
      if (to !== "late") assert((await http.send(mail(to, "its own", { from: "late", queue: true }))).ok);
    }
    const late = await new TestAgent(relay.url, "late", { label: "late", tags: ["x"], caps: ["review"] })
      .join();
    await late.untilGot("broadcast");
    assertEquals(late.messages.map(({ body }) => body), [
      "label:late",
      "tag:x",
      "cap:review",
      "late",
      "broadcast",
    ]);
    const never = await new TestAgent(relay.url, "never", { label: "never" }).join();
    // And what the other one said to all.
    await until("its mail", () => never.messages.length === 1_101);
    for (const each of [late, never]) await each.bus.close();
  });
});
