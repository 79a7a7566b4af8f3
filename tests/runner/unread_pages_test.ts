import { assertEquals } from "@std/assert";
import type { Log } from "../../lib/base/log.ts";
import { noLog } from "../../lib/base/log.ts";
import type { Message, StageReport } from "../../lib/protocol/message.ts";
import type { CoreConfig, Event } from "../../lib/runner/core/types.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { RelayActions } from "../../lib/runner/relay_actions.ts";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import type { CallResult } from "../../lib/sdk/contract.ts";

const message = (id: number): Message => ({
  id,
  storeId: "s",
  from: "a",
  to: "me",
  kind: "chat",
  body: "x",
  claimable: false,
  createdAt: 0,
});

/** Fetches the unread mail of a relay whose answers are too large above `most` messages, or with one of `large`. */
async function fetchAll(relay: { ids: number[]; large: number[]; most: number; named?: boolean }) {
  const events: Event[] = [];
  const reports: StageReport[] = [];
  const asked: [number, number][] = [];
  const warned: string[] = [];
  const log: Log = { ...noLog, warn: (text) => void warned.push(text) };
  const listUnread = (
    _: string,
    { sinceId = 0, limit = 200 } = {},
  ): Promise<CallResult<Message[]>> => {
    asked.push([sinceId, limit]);
    const page = relay.ids.filter((id) => id > sinceId).slice(0, limit);
    if (page.length <= relay.most && !page.some((id) => relay.large.includes(id))) {
      return Promise.resolve({ ok: true, value: page.map(message) });
    }
    return Promise.resolve({
      ok: false,
      kind: "unknown",
      message: "the reply is too large",
      oversize: { firstId: relay.named === false ? null : page[0]! },
    });
  };
  const ports = {
    http: {
      listUnread,
      listDead: () => Promise.resolve({ ok: true, value: { storeId: "s", letters: [] } }),
    },
    bus: {
      reportStages: (lines: StageReport[]) => {
        reports.push(...lines);
        return Promise.resolve({ ok: true, value: null });
      },
    },
    afterReadyInput: (callback: () => void) => queueMicrotask(callback),
    clock: { wall: () => 1_000, mono: () => 0, setTimer: () => () => {} },
    log,
  } as unknown as RunnerPorts;
  const config = { agentId: "me" } as CoreConfig;
  const actions = new RelayActions(config, ports, (event) => events.push(event), () => false, () => null);
  await actions.perform({ type: "resync", sinceId: 0 });
  const offered = events.flatMap((event) => event.type === "offered" ? [event.message.id] : []);
  return { offered, reports, asked, warned, end: events.find((event) => event.type === "resynced") };
}

Deno.test("unread mail whose pages are too large is asked for in smaller ones", async () => {
  const ids = Array.from({ length: 300 }, (_, i) => i + 1);
  const { offered, asked, end, reports } = await fetchAll({ ids, large: [], most: 70 });
  assertEquals(offered, ids);
  assertEquals(asked.slice(0, 5), [[0, 500], [0, 250], [0, 125], [0, 62], [62, 124]]);
  assertEquals(end, { type: "resynced", end: "reached", through: 300 });
  assertEquals(reports, []);
});

Deno.test("a message that is too large by itself is passed over, told to the log and to the relay as dead", async () => {
  const { offered, end, reports, warned } = await fetchAll({
    ids: [1, 2, 3, 4, 5],
    large: [2, 5],
    most: 500,
  });
  assertEquals(offered, [1, 3, 4]);
  assertEquals(end, { type: "resynced", end: "reached", through: 5 });
  const evidence = "the relay's answer with it is larger than 4 MiB";
  assertEquals(
    reports,
    [2, 5].map((messageId) => ({ messageId, agentId: "me", stage: "dead", at: 1_000, evidence })),
  );
  assertEquals(warned.length, 2);
});

Deno.test("a relay that does not say which message is too large is asked again later", async () => {
  const { offered, end } = await fetchAll({ ids: [1, 2, 3], large: [2], most: 500, named: false });
  assertEquals(offered, [1]);
  assertEquals(end, { type: "resynced", end: "failed", through: 1 });
});

Deno.test("listUnread() names the first message of an answer that is larger than it takes", async () => {
  const big = "y".repeat(5 * 1024 * 1024);
  for (
    const [text, firstId] of [[`{"messages":[{"id":77,"body":"${big}"}]}`, 77], [`"${big}"`, null]] as const
  ) {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(text, { headers: { "content-type": "application/json" } }),
    );
    const http = new RelayHttpClient({ url: `http://127.0.0.1:${server.addr.port}`, token: null });
    assertEquals(await http.listUnread("me"), {
      ok: false,
      kind: "unknown",
      message: "the reply is too large",
      oversize: { firstId },
    });
  }
});
