import { assertEquals, assertRejects } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { readControlFile } from "../../lib/control/control_file.ts";
import { runMonitor } from "../../lib/control/monitor_client.ts";
import { type ControlServer, serveControl } from "../../lib/control/server.ts";
import { WatchDoor } from "../../lib/control/watch.ts";
import { isNoticeLine, readDeliver, readDelivered } from "../../lib/protocol/control.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { until, withTempDir } from "../support/temp.ts";

const NOTICES = [{ messageId: "1", line: "first line" }, { messageId: "2", line: "second line" }];

async function withServer(work: (server: ControlServer) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const events = { statusHint() {}, hook: () => Promise.resolve({}), shutdown() {} };
    const server = serveControl({
      dir,
      agentId: "agent",
      clock: systemClock,
      log: noLog,
      watch: new WatchDoor(JSON.stringify),
      tools: null,
      view: () => ({}),
      events,
    });
    try {
      await work(server);
    } finally {
      await server.stop();
    }
  });
}

/** A monitor whose every word the test chooses. */
class Monitor {
  readonly frames: string[] = [];
  readonly closed: Promise<CloseEvent>;
  opened = false;
  readonly #socket: WebSocket;

  constructor(server: ControlServer, token = server.tokens.monitor) {
    const headers = { authorization: `Bearer ${token}` };
    this.#socket = new WebSocket(`${server.url.replace("http", "ws")}/monitor`, { headers });
    this.#socket.onopen = () => this.opened = true;
    this.#socket.onmessage = ({ data }) => this.frames.push(String(data));
    this.closed = new Promise((resolve) => this.#socket.onclose = resolve);
    this.#socket.onerror = (event) => event.preventDefault();
  }

  open(): Promise<void> {
    return until("the monitor's connection", () => this.opened);
  }

  send(value: unknown): void {
    this.#socket.send(typeof value === "string" ? value : JSON.stringify(value));
  }

  /** Resolves once the server has taken everything that was sent: it answers frames in order. */
  async settled(server: ControlServer): Promise<void> {
    const before = this.frames.length;
    const probe = server.monitor.deliver(
      "probe",
      [{ messageId: "0", line: "probe" }],
      AbortSignal.timeout(2_000),
    );
    await until("the probe", () => this.frames.length > before);
    this.send({ type: "message.delivered", deliveryId: "probe", messageIds: ["0"] });
    await probe;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.closed;
  }
}

Deno.test("a monitor's confirmation counts from the socket the delivery went to, for its ids, once", async () => {
  await withServer(async (server) => {
    const monitor = new Monitor(server);
    await monitor.open();
    let confirmed = 0;
    const wrong: unknown[] = [
      {},
      [],
      null,
      "no json",
      "\u0000",
      { type: "message.delivered" },
      { type: "message.delivered", deliveryId: "D", messageIds: [] },
      { type: "message.delivered", deliveryId: "D", messageIds: ["3"] },
      { type: "message.delivered", deliveryId: "D", messageIds: ["1", "2", "3"] },
      { type: "message.delivered", deliveryId: "D", messageIds: [1, 2] },
      { type: "message.delivered", deliveryId: "D", messageIds: [NaN, Infinity] },
      { type: "message.delivered", deliveryId: "D", messageIds: { 0: "1", 1: "2", length: 2 } },
      { type: "message.delivered", deliveryId: "d", messageIds: ["1", "2"] },
      { type: "message.delivered", deliveryId: ["D"], messageIds: ["1", "2"] },
      { type: "message.delivered", deliveryId: "__proto__", messageIds: ["1"] },
      { type: "message.deliver", deliveryId: "D", messageIds: ["1", "2"] },
    ];
    const delivery = server.monitor.deliver("D", NOTICES, AbortSignal.timeout(10_000)).then(() =>
      confirmed++
    );
    await until("the frame", () => monitor.frames.length === 1);
    assertEquals(readDeliver(monitor.frames[0]!)?.messages, [
      { id: "1", line: "first line" },
      { id: "2", line: "second line" },
    ]);
    for (const each of wrong) monitor.send(each);
    await monitor.settled(server);
    assertEquals(confirmed, 0);
    // The positive control: in two parts, as a monitor may.
    monitor.send({ type: "message.delivered", deliveryId: "D", messageIds: ["2"] });
    monitor.send({ type: "message.delivered", deliveryId: "D", messageIds: ["2"] });
    await monitor.settled(server);
    assertEquals(confirmed, 0);
    monitor.send({ type: "message.delivered", deliveryId: "D", messageIds: ["1"] });
    await delivery;
    assertEquals(confirmed, 1);
    // A replay confirms no later delivery of the same id.
    const again = new AbortController();
    const second = server.monitor.deliver("E", NOTICES, again.signal);
    monitor.send({ type: "message.delivered", deliveryId: "D", messageIds: ["1", "2"] });
    await monitor.settled(server);
    again.abort(new Error("not confirmed"));
    await assertRejects(() => second, Error, "not confirmed");
    await monitor.close();
  });
});

Deno.test("a new monitor takes the place of the old, whose deliveries fail and which confirms nothing", async () => {
  await withServer(async (server) => {
    const states: boolean[] = [];
    const unwatch = server.monitor.watch((connected) => states.push(connected));
    const old = new Monitor(server);
    await old.open();
    const lost = assertRejects(
      () => server.monitor.deliver("D", NOTICES, AbortSignal.timeout(10_000)),
      Error,
      "another monitor",
    );
    await until("the frame", () => old.frames.length === 1);
    const fresh = new Monitor(server);
    await fresh.open();
    assertEquals((await old.closed).code, 4001);
    await lost;
    await fresh.settled(server);
    await fresh.close();
    await until("the end", () => states.at(-1) === false);
    assertEquals(states, [false, true, true, false]);
    unwatch();
  });
});

Deno.test("a delivery waits for a monitor, and is given up with its signal", async () => {
  await withServer(async (server) => {
    const abort = new AbortController();
    const early = server.monitor.deliver("D", NOTICES, abort.signal);
    abort.abort(new Error("30 s are over"));
    await assertRejects(() => early, Error, "30 s are over");
    const late = server.monitor.deliver("E", NOTICES, AbortSignal.timeout(10_000));
    const monitor = new Monitor(server);
    await until("the frame", () => monitor.frames.length === 1);
    monitor.send({ type: "message.delivered", deliveryId: "E", messageIds: ["1", "2"] });
    await late;
    await monitor.close();
  });
});

Deno.test("the monitor's door takes its own token only, ends a long frame with 1009, and text only", async () => {
  await withServer(async (server) => {
    for (const token of [server.tokens.hook, server.tokens.admin, "x", ""]) {
      const refused = new Monitor(server, token);
      await refused.closed;
      assertEquals(refused.opened, false);
    }
    const plain = await fetch(`${server.url}/monitor`, {
      headers: { authorization: `Bearer ${server.tokens.monitor}` },
    });
    assertEquals([plain.status, await plain.text()], [400, '{"error":"expected a WebSocket upgrade"}']);
    for (const [bytes, code] of [[64 * 1024, null], [64 * 1024 + 1, 1009]] as const) {
      const monitor = new Monitor(server);
      await monitor.open();
      monitor.send("x".repeat(bytes));
      if (code === null) {
        await monitor.settled(server);
        await monitor.close();
      } else assertEquals((await monitor.closed).code, code);
    }
  });
});

Deno.test("frames that a monitor would print are one line of ASCII, or nothing of them is printed", () => {
  const frame = (line: unknown, id: unknown = "1", deliveryId: unknown = "D") =>
    JSON.stringify({ type: "message.deliver", deliveryId, messages: [{ id, line }] });
  assertEquals(readDeliver(frame("a line"))?.messages.length, 1);
  assertEquals(isNoticeLine("x".repeat(480)), true);
  const refused = [
    "",
    " ",
    "x".repeat(481),
    "two\nlines",
    "\u001b[2J",
    "tab\t",
    "é",
    " lead",
    "trail ",
    7,
    null,
  ];
  for (const line of refused) assertEquals(readDeliver(frame(line)), null, JSON.stringify(line));
  for (const id of ["", 1, null, "a b", "x".repeat(65)]) assertEquals(readDeliver(frame("ok", id)), null);
  assertEquals(readDeliver(JSON.stringify({ type: "message.deliver", deliveryId: "D", messages: [] })), null);
  assertEquals(readDelivered("[]"), null);
});

Deno.test("runMonitor prints a line every 2 s at most, confirms it, and stays through restarts of the server", async () => {
  await withTempDir(async (dir) => {
    const events = { statusHint() {}, hook: () => Promise.resolve({}), shutdown() {} };
    const serve = () =>
      serveControl({
        dir,
        agentId: "agent",
        clock: systemClock,
        log: noLog,
        view: () => ({}),
        watch: new WatchDoor(JSON.stringify),
        tools: null,
        events,
      });
    const clock = new FakeClock();
    const gone = new AbortController();
    const printed: { line: string; at: number }[] = [];
    const monitor = runMonitor({
      async access() {
        const control = await readControlFile(`${dir}/control.json`);
        return control.ok ? control.access : null;
      },
      print: (line) => printed.push({ line, at: clock.mono() }),
      clock,
      signal: gone.signal,
    });
    /** Lets time pass in small steps until the work of real sockets is done. */
    const through = async <T>(work: Promise<T>): Promise<T> => {
      let over = false;
      void work.finally(() => over = true).catch(() => {});
      await until("the work", async () => {
        await clock.advance(100);
        return over;
      });
      return await work;
    };
    const deliver = (server: ControlServer, id: string) =>
      server.monitor.deliver(id, NOTICES, AbortSignal.timeout(10_000));
    const first = serve();
    await through(deliver(first, "D"));
    assertEquals(printed.map(({ line }) => line), ["first line", "second line"]);
    assertEquals(printed[1]!.at - printed[0]!.at >= 2_000, true);
    // The same delivery again, as after a lost confirmation: confirmed, not printed twice.
    await through(deliver(first, "D"));
    assertEquals(printed.length, 2);
    await clock.advance(31_000);
    await through(deliver(first, "D"));
    assertEquals(printed.length, 4);
    await first.stop();
    const second = serve();
    await through(deliver(second, "E"));
    assertEquals(printed.length, 6);
    assertEquals(printed.every(({ at }, i) => i === 0 || at - printed[i - 1]!.at >= 2_000), true);
    gone.abort(new Error("the agent is gone"));
    await through(monitor);
    await second.stop();
  });
});
