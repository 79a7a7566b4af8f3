import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import { RpcError, RpcLink } from "../../lib/providers/codex/rpc.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("a request to codex that is refused, not answered or cut off rejects with E_RPC, and says which it was", async () => {
  const asked: string[] = [];
  const hung: string[] = [];
  let socket!: WebSocket;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const upgraded = Deno.upgradeWebSocket(request);
    socket = upgraded.socket;
    socket.onmessage = ({ data }) => {
      const { id, method } = JSON.parse(data) as { id: number; method: string };
      asked.push(method);
      if (method === "refused") socket.send(JSON.stringify({ id, error: { code: -32600, message: "no" } }));
      if (method === "done") socket.send(JSON.stringify({ id, result: { ok: true } }));
    };
    return upgraded.response;
  });
  const clock = new FakeClock();
  const link = new RpcLink({
    url: `ws://127.0.0.1:${server.addr.port}`,
    token: "t",
    clock,
    log: noLog,
    random: () => 0,
    events: { notification: () => {}, request: () => {}, hung: (method) => hung.push(method) },
  });
  const rejection = async (work: Promise<unknown>) => {
    const error = await assertRejects(() => work, RunnerError);
    assertEquals(error.code, "E_RPC");
    return error;
  };
  await link.opened;
  assertEquals(await link.request("done", {}), { ok: true });
  const refused = await rejection(link.request("refused", {}));
  assertEquals([refused instanceof RpcError, refused.message], [true, "codex refused refused: no"]);

  const silent = rejection(link.request("silent", {}, 60_000));
  await clock.advance(60_000);
  assertMatch((await silent).message, /^codex did not answer silent within 60000 ms$/);
  assertEquals(hung, ["silent"]);

  const cut = rejection(link.request("cut", {}));
  await link.request("done", {});
  socket.close();
  assertMatch((await cut).message, /^the link to codex ended/);
  assertMatch((await rejection(link.request("after", {}))).message, /^the link to codex is down$/);
  assertEquals(asked, ["done", "refused", "silent", "cut", "done"]);
  link.close();
  await server.shutdown();
});
