import { assert, assertEquals } from "@std/assert";
import { type FakeModel, obeyText } from "../support/fake_app_server.ts";
import { CodexLane } from "../support/codex_lane.ts";
import { PatientClock } from "../support/patient_clock.ts";
import { SeededRandom } from "../support/random.ts";
import { until as untilWithin, withTempDir } from "../support/temp.ts";

/** Where the link is cut: at the nth time that the runner's link passes this point. */
interface Point {
  at: string;
  nth: number;
  /** What the message makes the model do. */
  body: string;
  /**
   * `delivery`: while a message is on its way. `behind`: while it waits behind a turn that outlasts the first look into
   * the record. `queued`: while it waits behind a turn that the person interrupts.
   * `again`: on the link that follows a first cut. `start`: before the agent was ever ready.
   */
  phase: "delivery" | "behind" | "queued" | "again" | "start";
}

const point = (at: string, nth = 1, body = "[[tool]]", phase: Point["phase"] = "delivery"): Point => ({
  at,
  nth,
  body,
  phase,
});

const POINTS: Point[] = [
  point("recv thread/queue/add"),
  point("done thread/queue/add"),
  point("send thread/queue/changed"),
  point("send thread/status/changed", 1),
  point("send turn/started"),
  point("send item/started", 1),
  point("send item/completed", 1),
  point("send item/started", 2),
  point("send item/completed", 2),
  point("send item/started", 3),
  point("send item/completed", 3),
  point("send thread/status/changed", 2),
  point("send turn/completed"),
  point("send item/commandExecution/requestApproval", 1, "[[approve]]"),
  point("send serverRequest/resolved", 1, "[[approve]]"),
  point("send error", 1, "[[once serverOverloaded]]"),
  point("recv thread/queue/add", 1, "", "behind"),
  point("done thread/queue/add", 1, "", "behind"),
  point("recv thread/queue/list", 1, "", "behind"),
  point("done thread/queue/list", 1, "", "behind"),
  point("recv thread/queue/start", 1, "", "queued"),
  point("done thread/queue/start", 1, "", "queued"),
  point("recv initialize", 1, "", "again"),
  point("done initialize", 1, "", "again"),
  point("recv initialized", 1, "", "again"),
  point("recv thread/resume", 1, "", "again"),
  point("done thread/resume", 1, "", "again"),
  point("recv thread/turns/list", 1, "", "again"),
  point("done thread/turns/list", 1, "", "again"),
  point("recv thread/start", 1, "", "start"),
  point("done thread/start", 1, "", "start"),
  point("recv thread/name/set", 1, "", "start"),
  point("done thread/name/set", 1, "", "start"),
  point("done account/read", 1, "", "start"),
];
const VARIATIONS = 40;
/** Runners at a time. */
const LANES = 10;
const FACTOR = 40;

/** A busy machine slows the clock of these tests down: real time is only there to give up at last. */
const until = (what: string, condition: () => boolean) => untilWithin(what, condition, 120_000);

/** Fails the first turn of a text with `[[once INFO]]`, obeys otherwise. */
function failsOnce(): FakeModel {
  const failed = new Set<string>();
  return (turn) => {
    const mark = /mark-\d+/.exec(turn.text)?.[0] ?? "";
    const info = /\[\[once (\w+)\]\]/.exec(turn.text)?.[1];
    if (info === undefined || failed.has(mark)) return obeyText(turn);
    failed.add(mark);
    return Promise.resolve({ status: "failed", error: { message: "fake", codexErrorInfo: info } });
  };
}

/** Cuts the link at a point: so that the frame is lost, right after it, or a little later. */
function cutAt(lane: CodexLane, { at, nth }: Point, how: number, done: () => void): void {
  let passed = 0;
  lane.point = (name, link) => {
    if (name !== at || ++passed !== nth) return;
    lane.point = () => {};
    const cut = () => {
      link.drop();
      done();
    };
    if (how === 0) return cut();
    if (how === 1) queueMicrotask(cut);
    else setTimeout(cut, how - 2);
  };
}

interface Tally {
  drops: Map<string, number>;
  messages: number;
  lost: number;
  twice: number;
  early: number;
  servers: number;
}

async function campaign(lane: CodexLane, each: Point, variation: number, random: SeededRandom, tally: Tally) {
  const speed = ["", "[[slow 2]]", "[[think 2]] [[slow 2]]"][Math.floor(variation / 4) % 3]!;
  const fired = Promise.withResolvers<void>();
  const count = () => {
    const name = `${each.phase} ${each.at} ${each.nth}`;
    tally.drops.set(name, (tally.drops.get(name) ?? 0) + 1);
    fired.resolve();
  };
  const how = variation % 4;
  if (each.phase === "start") {
    cutAt(lane, each, how, count);
    lane.start();
  } else if (each.phase === "again") {
    const first = point(
      ["recv thread/queue/add", "done thread/queue/add", "send turn/started"][random.int(0, 2)]!,
    );
    cutAt(lane, first, 0, () => cutAt(lane, each, how, count));
  } else if (each.phase === "queued" || each.phase === "behind") {
    const text = each.phase === "queued" ? "mine [[hang]]" : `mine [[slow ${300 + variation}]]`;
    lane.person("turn/start", { input: [{ type: "text", text }] });
    await until("the person's turn", () => lane.status === "busy");
    // The record is looked at when the answer to the delivery was lost.
    if (each.at.endsWith("thread/queue/list")) {
      cutAt(lane, point("done thread/queue/add"), 0, () => cutAt(lane, each, how, count));
    } else cutAt(lane, each, how, count);
  } else cutAt(lane, each, how, count);
  const marks = [lane.send(`${each.body} ${speed}`)];
  if (variation % 5 === 0) marks.push(lane.send(`second ${speed}`));
  if (each.phase === "queued") {
    await until("the message to wait", () => [...lane.store.threads.values()].at(-1)!.queue.length > 0);
    lane.person("turn/interrupt", { turnId: lane.turnId });
  }
  let cut = false;
  void fired.promise.then(() => cut = true);
  await until(`the cut at ${each.at} ${each.nth}, variation ${variation}`, () => cut);
  await until(
    `the ack after ${each.at}, variation ${variation}`,
    () => marks.every((mark) => lane.seen.get(mark)!.acked),
  );
  await lane.untilIdle();
  for (const mark of marks) {
    const { answered, acked, early } = lane.seen.get(mark)!;
    tally.messages++;
    if (!acked || answered === 0) tally.lost++;
    if (answered > 1) tally.twice++;
    if (early) tally.early++;
  }
}

Deno.test("R-21: the link to the app-server drops at every point of the protocol: nothing lost, nothing twice", async () => {
  await withTempDir(async (dir) => {
    const clock = new PatientClock(FACTOR);
    const tally: Tally = {
      drops: new Map(),
      messages: 0,
      lost: 0,
      twice: 0,
      early: 0,
      servers: 0,
    };
    let lanes = 0;
    const open = () => {
      const random = new SeededRandom(21 + lanes);
      const stateDir = `${dir}/${lanes++}`;
      Deno.mkdirSync(stateDir);
      return {
        lane: new CodexLane({ dir: stateDir, clock, model: failsOnce(), random: random.next }),
        random,
      };
    };
    const cases = POINTS.flatMap((each) => Array.from({ length: VARIATIONS }, (_, i) => ({ each, i })));
    const work = async () => {
      let world = open();
      world.lane.start();
      await world.lane.untilIdle();
      for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
        if (next.each.phase === "start") {
          tally.servers += world.lane.servers;
          await world.lane.dispose();
          world = open();
        }
        await campaign(world.lane, next.each, next.i, world.random, tally);
      }
      tally.servers += world.lane.servers;
      await world.lane.dispose();
    };
    try {
      await Promise.all(Array.from({ length: LANES }, work));
    } finally {
      clock.stop();
    }
    const drops = [...tally.drops.values()].reduce((sum, count) => sum + count, 0);
    const { drops: _byPoint, ...figures } = tally;
    const line = JSON.stringify({ test: "codex link drop", points: POINTS.length, drops, lanes, ...figures });
    Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
    for (const { at, nth, phase } of POINTS) {
      assertEquals(tally.drops.get(`${phase} ${at} ${nth}`), VARIATIONS, `drops at ${at} ${nth}`);
    }
    assert(drops >= 1_000);
    assertEquals([tally.lost, tally.twice, tally.early], [0, 0, 0]);
    // The link alone dropped: no server had to be started anew.
    assertEquals(tally.servers, lanes);
  });
});

Deno.test("R-21: while the link is down and after it, the status is what the server does", async () => {
  await withTempDir(async (dir) => {
    const clock = new PatientClock(FACTOR);
    const lane = new CodexLane({ dir, clock, model: obeyText, random: new SeededRandom(5).next });
    lane.start();
    await lane.untilIdle();
    const slowest = { busy: 0, idle: 0 };
    const within = async (status: "busy" | "idle") => {
      const from = clock.mono();
      await until(`status ${status}`, () => lane.status === status);
      slowest[status] = Math.max(slowest[status], clock.mono() - from);
    };
    const cut = (at: string) => new Promise<void>((done) => cutAt(lane, point(at), 0, done));
    /** Refuses this many handshakes, then resolves once the runner has looked at what it missed. */
    const back = (refused: number) =>
      new Promise<void>((done) => {
        lane.point = (name, link) => {
          if (name === "recv initialize" && refused-- > 0) link.drop();
          if (name !== "done thread/turns/list") return;
          lane.point = () => {};
          done();
        };
      });
    for (let i = 0; i < 40; i++) {
      // The turn begins, and its first words to the runner are lost with the link.
      const down = cut(["send thread/status/changed", "send turn/started", "send item/started"][i % 3]!);
      lane.person("turn/start", { input: [{ type: "text", text: "mine [[hang]]" }] });
      await down;
      const again = back(i % 4);
      await within("busy");
      await again;
      assertEquals([lane.running, lane.status], [1, "busy"]);
      // It ends, and nobody hears of that.
      const lost = cut("send thread/status/changed");
      lane.person("turn/interrupt", { turnId: lane.turnId });
      await lost;
      const late = back(i % 5);
      await within("idle");
      await late;
      assertEquals([lane.running, lane.status], [0, "idle"]);
    }
    await lane.dispose();
    clock.stop();
    assertEquals(lane.servers, 1);
    assert(Math.max(slowest.busy, slowest.idle) <= 5_000, JSON.stringify(slowest));
  });
});

Deno.test("R-20: an app-server that hangs is ended in time, and its messages are delivered once by the next one", async () => {
  await withTempDir(async (dir) => {
    const clock = new PatientClock(FACTOR);
    const hangs = [
      { kind: "deaf", method: "thread/queue/add" },
      { kind: "mute", method: "thread/queue/add" },
      { kind: "half", method: "thread/queue/add" },
      { kind: "deaf", method: "" },
      { kind: "deaf", method: "thread/turns/list" },
      { kind: "half", method: "thread/turns/list" },
    ] as const;
    let deliveries = 0;
    let hung = 0;
    let wrong = 0;
    let slowest = 0;
    const cases = Array.from({ length: 204 }, (_, i) => hangs[i % hangs.length]!);
    const work = async (number: number) => {
      const stateDir = `${dir}/${number}`;
      Deno.mkdirSync(stateDir);
      for (let next = cases.pop(); next !== undefined; next = cases.pop()) {
        // A new run each time: its supervisor would take so many deaths in a row for a crash loop.
        const lane = new CodexLane({
          dir: stateDir,
          clock,
          model: obeyText,
          random: new SeededRandom(number).next,
        });
        lane.start();
        await lane.untilIdle();
        const { kind, method } = next;
        const server = lane.servers;
        let met = 0;
        // Asked for the record, the server first has to have a reason: the answer to the delivery is lost.
        const first = method === "thread/turns/list" ? "thread/queue/add" : null;
        if (first !== null) cutAt(lane, point(`recv ${first}`), 0, () => {});
        lane.hang = (asked) => {
          if (lane.servers !== server || (method !== "" && asked !== method)) return null;
          met++;
          return kind;
        };
        const from = clock.mono();
        const mark = lane.send("[[tool]]");
        await until(`the ack after ${kind} ${method}`, () => lane.seen.get(mark)!.acked);
        slowest = Math.max(slowest, clock.mono() - from);
        deliveries++;
        if (met > 0) hung++;
        if (lane.seen.get(mark)!.answered !== 1) wrong++;
        lane.hang = () => null;
        await lane.dispose();
      }
    };
    try {
      await Promise.all(Array.from({ length: 24 }, (_, number) => work(number)));
    } finally {
      clock.stop();
    }
    const line = JSON.stringify({
      test: "codex hang",
      deliveries,
      hung,
      wrong,
      slowestMs: Math.round(slowest),
    });
    Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
    assertEquals([deliveries, hung, wrong], [204, 204, 0]);
    // 30 s for the answer, the end and the restart, 5 s until the record is trusted, and once more for the record.
    assert(slowest <= 120_000, `the slowest delivery took ${slowest} ms`);
  });
});
