import { assert, assertEquals, assertMatch } from "@std/assert";
import { serveMcp } from "../../lib/control/mcp_server.ts";
import { type ToolResult, TOOLS } from "../../lib/protocol/tools.ts";
import { until } from "../support/temp.ts";

type Reply = {
  id?: unknown;
  result?: Record<string, unknown>;
  error?: { code: number; message: string };
};

/** A server whose input a test writes and whose output it reads. */
class Peer {
  readonly out: Reply[] = [];
  readonly calls: { name: string; args: unknown; signal: AbortSignal }[] = [];
  readonly over: Promise<void>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(call: (args: unknown, signal: AbortSignal) => Promise<ToolResult> = answered) {
    const pipe = new TransformStream<Uint8Array, Uint8Array>();
    this.#writer = pipe.writable.getWriter();
    this.over = serveMcp({
      input: pipe.readable,
      write: (line) => {
        assert(!line.includes("\n"), "one message is one line");
        this.out.push(JSON.parse(line) as Reply);
      },
      call: (name, args, signal) => {
        this.calls.push({ name, args, signal });
        return call(args, signal);
      },
    });
  }

  async say(...lines: (string | Record<string, unknown>)[]): Promise<void> {
    for (const line of lines) {
      const text = typeof line === "string" ? line : JSON.stringify({ jsonrpc: "2.0", ...line });
      await this.#writer.write(new TextEncoder().encode(text + "\n"));
    }
  }

  /** The answer to a ping that was sent last: all before it was taken in. */
  async settled(): Promise<Reply[]> {
    await this.say({ id: "settled", method: "ping" });
    await until("the ping", () => this.out.at(-1)?.id === "settled");
    return this.out.splice(0).slice(0, -1);
  }

  async end(): Promise<void> {
    await this.#writer.close();
    await this.over;
  }
}

function answered(): Promise<ToolResult> {
  return Promise.resolve({ text: "called", isError: false });
}

/** A call that ends with its signal only. */
function hanging(_args: unknown, signal: AbortSignal): Promise<ToolResult> {
  return new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
}

Deno.test("serveMcp() speaks the version that it is asked for, and its own to one that it does not know", async () => {
  const peer = new Peer();
  for (const protocolVersion of ["2025-06-18", "2025-03-26", "2024-11-05", "2099-01-01", 7]) {
    await peer.say({
      id: 1,
      method: "initialize",
      params: { protocolVersion, capabilities: {}, clientInfo: {} },
    });
  }
  await peer.say({ method: "notifications/initialized" });
  const versions = (await peer.settled()).map(({ result }) => result!.protocolVersion);
  assertEquals(versions, ["2025-06-18", "2025-03-26", "2024-11-05", "2025-06-18", "2025-06-18"]);
  await peer.end();
});

Deno.test("serveMcp() lists every tool with its schema", async () => {
  const peer = new Peer();
  await peer.say({ id: 0, method: "tools/list" });
  const [listed] = await peer.settled();
  const tools = listed!.result!.tools as { name: string; description: string; inputSchema: unknown }[];
  assertEquals(
    tools.map(({ name, inputSchema }) => ({ name, inputSchema })),
    TOOLS.map(({ name, inputSchema }) => ({ name, inputSchema })),
  );
  for (const { description } of tools) {
    assert(description.length > 20 && description.length < 300, description);
  }
  await peer.end();
});

Deno.test("serveMcp() passes a call on and returns what it came to, also when it fails", async () => {
  const peer = new Peer((args) =>
    JSON.stringify(args).includes("throw")
      ? Promise.reject(new Error("broken"))
      : Promise.resolve({ text: "nobody is there", isError: true })
  );
  const params = { name: "relay_send", arguments: { to: "a", text: "b" } };
  await peer.say({ id: "x", method: "tools/call", params });
  await peer.say({ id: 2, method: "tools/call", params: { name: "relay_send", arguments: { to: "throw" } } });
  await until("both", () => peer.out.length === 2);
  assertEquals(peer.out.map(({ id, result }) => [id, result]), [
    ["x", { content: [{ type: "text", text: "nobody is there" }], isError: true }],
    [2, { content: [{ type: "text", text: "broken" }], isError: true }],
  ]);
  assertEquals(peer.calls[0]!.args, params.arguments);
  await peer.end();
});

Deno.test("serveMcp() answers what it does not understand with the right error, and goes on", async () => {
  const peer = new Peer();
  const bad: [line: string, id: unknown, code: number][] = [
    ["no json", null, -32700],
    ["{", null, -32700],
    [`${"[".repeat(40)}${"]".repeat(40)}`, null, -32700],
    ['{"jsonrpc":"2.0","id":1,"method":"ping","params":{"__proto__":{}}}', null, -32700],
    ["[]", null, -32600],
    ["7", null, -32600],
    ['{"id":3}', 3, -32600],
    ['{"id":null,"method":"ping"}', null, -32600],
    ['{"id":{},"method":"ping"}', null, -32600],
    ['{"id":4,"method":"resources/list"}', 4, -32601],
    ['{"id":5,"method":"tools/call"}', 5, -32602],
    ['{"id":6,"method":"tools/call","params":{"name":"toString"}}', 6, -32602],
  ];
  for (const [line, id, code] of bad) {
    await peer.say(line);
    const replies = await peer.settled();
    assertEquals(replies.map((reply) => [reply.id, reply.error?.code]), [[id, code]], line);
  }
  // Nothing waits for an answer to these.
  await peer.say("", "  ", { method: "notifications/unheard-of" }, { id: 9, result: {} });
  assertEquals(await peer.settled(), []);
  assertEquals(peer.calls, []);
  await peer.end();
});

Deno.test("serveMcp() drops a line that is too long and takes the next", async () => {
  const peer = new Peer();
  await peer.say("x".repeat(17 * 1024 * 1024));
  const [refused] = await peer.settled();
  assertEquals([refused!.id, refused!.error!.code], [null, -32700]);
  const text = "y".repeat(2 * 1024 * 1024);
  await peer.say({
    id: 1,
    method: "tools/call",
    params: { name: "relay_send", arguments: { to: "a", text } },
  });
  await until("the call", () => peer.out.length === 1);
  assertEquals((peer.calls[0]!.args as { text: string }).text.length, text.length);
  await peer.end();
});

Deno.test("serveMcp() gives a cancelled call up without an answer", async () => {
  const peer = new Peer(hanging);
  const call = (id: string | number) =>
    peer.say({ id, method: "tools/call", params: { name: "relay_agents" } });
  await call(1);
  await call("1");
  await until("the calls", () => peer.calls.length === 2);
  await peer.say({ method: "notifications/cancelled", params: { requestId: 1 } });
  await peer.say({ method: "notifications/cancelled", params: { requestId: 99 } }, {
    method: "notifications/cancelled",
  });
  assertEquals(await peer.settled(), []);
  assertEquals(peer.calls.map(({ signal }) => signal.aborted), [true, false]);
  // The id is free again.
  await call(1);
  await until("the call", () => peer.calls.length === 3);
  assertEquals(await peer.settled(), []);
  await peer.end();
});

Deno.test("serveMcp() refuses an id twice and more calls than it carries, and gives all up at the end of input", async () => {
  const peer = new Peer(hanging);
  for (let id = 0; id < 16; id++) {
    await peer.say({ id, method: "tools/call", params: { name: "relay_agents" } });
  }
  await peer.say({ id: 0, method: "tools/call", params: { name: "relay_agents" } });
  await peer.say({ id: 16, method: "tools/call", params: { name: "relay_agents" } });
  const [twice, over] = await peer.settled();
  assertEquals([twice!.id, twice!.error!.code], [0, -32600]);
  assertMatch(JSON.stringify(over!.result), /too many/);
  assertEquals(peer.calls.length, 16);
  await peer.end();
  assert(peer.calls.every(({ signal }) => signal.aborted));
  assertEquals(peer.out, []);
});
