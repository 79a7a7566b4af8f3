import { assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { join } from "@std/path";
import type { Clock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { AgentDirectory } from "../../lib/relay/agents.ts";
import { ClaimStore } from "../../lib/relay/claims.ts";
import { CommandStore } from "../../lib/relay/commands.ts";
import { RelayDatabase } from "../../lib/relay/database.ts";
import { Hub } from "../../lib/relay/hub.ts";
import { MessageStore } from "../../lib/relay/messages.ts";
import { ReceiptStore } from "../../lib/relay/receipts.ts";
import { Sweep } from "../../lib/relay/sweep.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { withTempDir } from "../support/temp.ts";

const LEASE_MS = 5_000;

/** A relay's store with its sweep, and a count of the transactions it makes. */
async function withSweep(
  work: (world: {
    db: RelayDatabase;
    agents: AgentDirectory;
    messages: MessageStore;
    claims: ClaimStore;
    commands: CommandStore;
    events: string[];
    now(): number;
    setWall(shiftMs: number): void;
    note(): void;
    /** Lets time pass; returns how often the database was asked to write. */
    pass(seconds: number): Promise<number>;
  }) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const time = new FakeClock();
    let shift = 0;
    const clock: Clock = {
      wall: () => time.wall() + shift,
      mono: time.mono,
      setTimer: (delayMs, callback) => time.setTimer(delayMs, callback),
    };
    const db = new RelayDatabase(join(dir, "relay.db"), clock);
    const agents = new AgentDirectory(db, () => true);
    const messages = new MessageStore(db, agents);
    const receipts = new ReceiptStore(db, messages);
    const claims = new ClaimStore(db, LEASE_MS, clock);
    const commands = new CommandStore(db);
    const events: string[] = [];
    let asked = 0;
    const counted = new Proxy(db, {
      get: (target, name) => {
        if (name === "write") asked++;
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const sweep = new Sweep({
      clock,
      log: noLog,
      db: counted,
      hub: new Hub(clock, () => ({ messages: [], more: false })),
      agents,
      messages,
      receipts,
      claims,
      commands,
      events: { expired: (key) => events.push(key), freed: (id) => events.push(`freed/${id}`) },
    });
    db.onChange = () => sweep.note();
    const pass = async (seconds: number) => {
      asked = 0;
      for (let second = 0; second < seconds; second++) {
        await time.advance(1_000);
        // A write is committed once what is ready was taken in, and told after that.
        for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => setImmediate(resolve));
      }
      return asked;
    };
    try {
      await work({
        db,
        agents,
        messages,
        claims,
        commands,
        events,
        now: () => clock.wall(),
        setWall: (shiftMs) => shift = shiftMs,
        note: () => sweep.note(),
        pass,
      });
    } finally {
      sweep.stop();
      sweep.note();
      sweep.stop();
      db.close();
    }
    assertEquals(time.pending, 0, "a sweep that was stopped has something to do");
  });
}

Deno.test("a relay at rest does not ask its database, and ends mail, leases and commands in their second", async () => {
  await withSweep(async ({ db, messages, claims, commands, events, now, pass }) => {
    assertEquals(await pass(1), 1, "what an earlier run left is not known");
    assertEquals(await pass(100), 0);
    const [mail, work] = await db.write(() =>
      [false, true].map((claimable) =>
        messages.send({ from: "a", to: "w", body: "x", queue: true, claimable, ttlMs: 20_000 }, now()).message
          .id
      )
    ) as [number, number];
    await db.write(
      () => claims.claim(work, { agentId: "w", instanceId: "i" }, now(), false),
      (grant) => claims.granted(grant),
    );
    const { id } = await db.write(() =>
      commands.create({ type: "agent.restart", target: "w", ttlMs: 9_000 }, now())
    );
    assertEquals(await pass(4), 1, "something was written");
    assertEquals(events, []);
    await pass(1);
    assertEquals(events.splice(0), [`freed/${work}`]);
    assertEquals(await pass(3), 0, "what the sweep wrote itself is no news");
    await pass(1);
    assertEquals(events.splice(0), [`command/${id}`]);
    assertEquals(await pass(10), 0);
    assertEquals(events, []);
    await pass(1);
    assertEquals(events.splice(0).sort(), [`message/${mail}`, `message/${work}`]);
    assertEquals(await pass(100), 0);
  });
});

Deno.test("what an agent says of itself is written within a second, also by a relay at rest", async () => {
  await withSweep(async ({ db, agents, now, note, pass }) => {
    await db.write(() =>
      agents.register({
        role: "provider",
        componentId: "run-w",
        agentId: "w",
        instanceId: "i",
        capabilities: [],
        tags: [],
        machine: "m",
        meta: {},
      }, now())
    );
    await pass(3);
    assertEquals(await pass(10), 0);
    agents.status("w", { agentStatus: "busy", ready: true }, now());
    note();
    assertEquals(agents.unwritten, true);
    assertEquals(await pass(1), 1);
    assertEquals(db.all("SELECT status, ready FROM agent"), [{ status: "busy", ready: 1 }]);
    assertEquals([agents.unwritten, await pass(10)], [false, 0]);
  });
});

Deno.test("a wall clock that is set back has the database asked again", async () => {
  await withSweep(async ({ db, messages, events, now, setWall, pass }) => {
    await pass(10);
    setWall(-3_600_000);
    const id = await db.write(() =>
      messages.send({ from: "a", to: "w", body: "x", queue: true, ttlMs: 5_000 }, now()).message.id
    );
    await pass(4);
    assertEquals(events, []);
    await pass(1);
    assertEquals(events, [`message/${id}`]);
    await pass(2);
    setWall(-7_200_000);
    assertEquals([await pass(5), await pass(10)], [1, 0]);
  });
});

Deno.test("work whose time is over while an agent holds it is that agent's until its lease is over, and then nobody's", async () => {
  await withSweep(async ({ db, messages, claims, events, now, pass }) => {
    const by = { agentId: "w", instanceId: "i" };
    const claim = (id: number, renewal: boolean) =>
      db.write(() => claims.claim(id, by, now(), renewal), (grant) => claims.granted(grant));
    const [done, lapsed] = await db.write(() =>
      [1, 2].map(() =>
        messages.send({ from: "a", to: "w", body: "x", queue: true, claimable: true, ttlMs: 4_000 }, now())
          .message.id
      )
    ) as [number, number];
    await claim(done, false);
    await claim(lapsed, false);
    for (let i = 0; i < 5; i++) {
      await pass(3);
      await claim(done, true);
      await claim(lapsed, true);
    }
    assertEquals([events, messages.waiting(done), messages.waiting(lapsed)], [[], ["w"], ["w"]]);
    await db.write(() => messages.read(done, "w", now()));
    await pass(4);
    assertEquals(events, []);
    await pass(1);
    assertEquals(events.splice(0), [`message/${lapsed}`, `freed/${lapsed}`]);
    assertEquals([messages.waiting(lapsed), await pass(20), events], [[], 0, []]);
    const lines = db.all("SELECT message_id, stage FROM report");
    assertEquals(lines, [{ message_id: lapsed, stage: "expired" }]);
  });
});
