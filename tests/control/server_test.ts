import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import type { ToolPort } from "../../lib/providers/contract.ts";
import { type ControlServer, serveControl } from "../../lib/control/server.ts";
import { WatchDoor } from "../../lib/control/watch.ts";
import { until, withTempDir } from "../support/temp.ts";

interface World {
  server: ControlServer;
  port: number;
  dir: string;
  hints: string[];
  hooks: { event: string; body: Record<string, unknown> }[];
  shutdowns: { count: number };
  calls: { name: string; args: unknown }[];
}

/** Tools that note their calls; a call whose arguments say `hang` ends with its signal. */
function noting(calls: World["calls"]): ToolPort {
  return {
    call: (name, args, signal) => {
      calls.push({ name, args });
      if (!JSON.stringify(args).includes("hang")) return Promise.resolve({ text: "called", isError: false });
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    },
  };
}

async function withControl(
  work: (world: World) => Promise<void>,
  options: { tools?: null } = {},
): Promise<void> {
  await withTempDir(async (dir) => {
    const hints: string[] = [];
    const hooks: World["hooks"] = [];
    const shutdowns = { count: 0 };
    const calls: World["calls"] = [];
    const server = serveControl({
      dir,
      agentId: "agent",
      clock: systemClock,
      log: noLog,
      watch: new WatchDoor(JSON.stringify),
      tools: options.tools === null ? null : noting(calls),
      view: () => ({ phase: "running" }),
      events: {
        statusHint: (status) => hints.push(status),
        hook: (event, body) => {
          hooks.push({ event, body });
          return Promise.resolve({ answered: event });
        },
        shutdown: () => shutdowns.count++,
      },
    });
    try {
      await work({ server, port: Number(new URL(server.url).port), dir, hints, hooks, shutdowns, calls });
    } finally {
      await server.stop();
    }
  });
}

/** Sends exactly these bytes and returns status and body; nothing is added. */
async function raw(port: number, request: string): Promise<{ status: number; body: string }> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const writer = socket.writable.getWriter();
  void writer.write(new TextEncoder().encode(request)).catch(() => {});
  // Not until the end: a server need not close a connection whose request never ended.
  const decoder = new TextDecoder();
  let answer = "";
  for await (const chunk of socket.readable) {
    answer += decoder.decode(chunk, { stream: true });
    const length = /\r\ncontent-length: (\d+)/i.exec(answer)?.[1];
    const end = answer.indexOf("\r\n\r\n");
    if (end >= 0 && (length === undefined || answer.length >= end + 4 + Number(length))) break;
  }
  return { status: Number(answer.split(" ")[1]), body: answer.split("\r\n\r\n").slice(1).join("\r\n\r\n") };
}

const call = (
  { port }: World,
  line: string,
  headers: Record<string, string>,
  body = "",
) => {
  const all = {
    host: `127.0.0.1:${port}`,
    "content-length": String(body.length),
    connection: "close",
    ...headers,
  };
  const head = Object.entries(all).filter(([, value]) => value !== "-").map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  return raw(port, `${line} HTTP/1.1\r\n${head.join("")}\r\n${body}`);
};

const JSON_TYPE = { "content-type": "application/json" };

Deno.test("control files are private, hold the hook token only where the agent can find it, and go with the server", async () => {
  await withControl(async ({ server, dir }) => {
    for (const name of ["control.json", "admin.json"]) {
      assertEquals(Deno.statSync(join(dir, name)).mode! & 0o777, 0o600);
    }
    const control = Deno.readTextFileSync(server.controlFile);
    for (const scope of ["hook", "monitor", "tool"] as const) assert(control.includes(server.tokens[scope]));
    assert(!control.includes(server.tokens.admin));
    await server.stop();
    await server.stop();
    assertEquals([...Deno.readDirSync(dir)], []);
  });
});

Deno.test("every route refuses no, a wrong and a wrong-scope token without any effect", async () => {
  await withControl(async (world) => {
    const { hook, monitor, tool, admin } = world.server.tokens;
    const routes = [
      { line: "GET /health", scopes: [hook, monitor, tool, admin] },
      { line: "GET /status", scopes: [admin] },
      { line: "GET /watch", scopes: [admin] },
      { line: "POST /status", scopes: [hook] },
      { line: "POST /shutdown", scopes: [admin] },
      { line: "POST /hook/Stop", scopes: [hook] },
      { line: "POST /tool/relay_agents", scopes: [tool] },
    ];
    for (const { line, scopes } of routes) {
      const body = line === "POST /status" ? '{"status":"idle"}' : "{}";
      const send = (token: string | null) =>
        call(
          world,
          line,
          { ...JSON_TYPE, ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
          body,
        );
      const none = await send(null);
      assertEquals([none.status, none.body], [401, '{"error":"unauthorized"}'], line);
      assertEquals((await send("wrong")).status, 401, line);
      for (const token of [hook, monitor, tool, admin]) {
        assertEquals((await send(token)).status, scopes.includes(token) ? 200 : 403, line);
      }
    }
    assertEquals([world.hints.length, world.hooks.length, world.shutdowns.count], [1, 1, 1]);
    assertEquals(world.calls, [{ name: "relay_agents", args: {} }]);
  });
});

Deno.test("no origin and no foreign host is accepted, whatever the token", async () => {
  await withControl(async (world) => {
    const { port, server } = world;
    const good = { ...JSON_TYPE, authorization: `Bearer ${server.tokens.hook}` };
    const origins = [
      "null",
      `http://127.0.0.1:${port}`,
      "http://localhost",
      "https://evil",
      "file://",
      "chrome-extension://x",
    ];
    const hosts = [
      "evil",
      "localhost",
      "127.0.0.1",
      `0.0.0.0:${port}`,
      `[::1]:${port}`,
      `localhost:${port}`,
      "-",
      `127.0.0.1:${port}x`,
    ];
    let refused = 0;
    const lines = ["GET /health", "GET /status", "POST /status", "POST /shutdown", "POST /hook/Stop"];
    for (const line of [...lines, "POST /tool/relay_agents"]) {
      for (const origin of origins) {
        assertEquals((await call(world, line, { ...good, origin }, "{}")).status, 403, `${line} ${origin}`);
        refused++;
      }
      for (const host of hosts) {
        const { status } = await call(world, line, { ...good, host }, "{}");
        assert(status === 403 || status === 400, `${line} host ${host}: ${status}`);
        refused++;
      }
      assertEquals((await call(world, line, { ...good, "sec-fetch-mode": "cors" }, "{}")).status, 403);
      const [method, path] = line.split(" ");
      const absolute = await call(world, `${method} http://evil.example${path}`, good, "{}");
      assert(absolute.status === 403 || absolute.status === 400, String(absolute.status));
    }
    assertEquals(refused, 84);
    assertEquals([world.hints, world.hooks.length, world.shutdowns.count, world.calls], [[], 0, 0, []]);
    assertEquals(
      (await call(world, "POST /status", good, '{"status":"busy"}')).status,
      200,
      "the positive control",
    );
    assertEquals(world.hints, ["busy"]);
  });
});

Deno.test("bodies outside the limits are refused with the right status", async () => {
  await withControl(async (world) => {
    const { hook } = world.server.tokens;
    const post = (body: string, headers: Record<string, string> = JSON_TYPE, path = "/status") =>
      call(world, `POST ${path}`, { authorization: `Bearer ${hook}`, ...headers }, body);
    for (
      const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json;charset=utf-16",
        "-",
      ]
    ) {
      assertEquals((await post('{"status":"idle"}', { "content-type": type })).status, 415, type);
    }
    for (
      const body of [
        '{"status":"IDLE"}',
        '{"status":"offline\\n"}',
        '{"status":1}',
        '{"status":null}',
        "null",
        "[]",
        "{}",
        '""',
        "x",
      ]
    ) {
      assertEquals((await post(body)).status, 400, body);
    }
    for (const body of ['{"status":"idle","__proto__":{}}', '{"status":"idle","extra":1}']) {
      const answer = await post(body);
      assertEquals([answer.status, answer.body], [400, '{"error":"unknown_key"}']);
    }
    const padded = (size: number) => `{"status":"idle"${" ".repeat(size - 17)}}`;
    assertEquals((await post(padded(8_192))).status, 200);
    assertEquals((await post(padded(8_193))).status, 413);
    assertEquals(
      (await post(`{"prompt":"${"x".repeat(60_000)}"}`, JSON_TYPE, "/hook/UserPromptSubmit")).status,
      200,
    );
    assertEquals(
      (await post(`{"prompt":"${"x".repeat(1024 * 1024)}"}`, JSON_TYPE, "/hook/UserPromptSubmit")).status,
      413,
    );
    assertEquals((await post("{}", JSON_TYPE, "/hook/../status")).status !== 200, true);
    assertEquals(world.hints, ["idle"]);
  });
});

Deno.test("a body that never ends is cut off", async () => {
  await withControl(async (world) => {
    const { hook } = world.server.tokens;
    const { status } = await call(world, "POST /status", {
      ...JSON_TYPE,
      authorization: `Bearer ${hook}`,
      "content-length": "100",
    }, '{"status":');
    assertEquals(status, 408);
    assertEquals(world.hints, []);
  });
});

Deno.test("other methods and paths are refused, and a burst is limited with Retry-After", async () => {
  await withControl(async (world) => {
    const { hook } = world.server.tokens;
    const good = { ...JSON_TYPE, authorization: `Bearer ${hook}` };
    for (const method of ["PUT", "DELETE", "OPTIONS", "PATCH"]) {
      assertEquals((await call(world, `${method} /status`, good, "{}")).status, 405, method);
    }
    assertEquals((await call(world, "GET /../etc/passwd", good)).status, 404);
    assertEquals((await call(world, `GET /${"x".repeat(4_000)}`, good)).status, 413);
    let limited = 0;
    for (let i = 0; i < 200; i++) {
      const response = await fetch(`${world.server.url}/status`, {
        method: "POST",
        headers: good,
        body: '{"status":"idle"}',
      });
      await response.body?.cancel();
      if (response.status === 429) {
        limited++;
        assertEquals(response.headers.get("retry-after"), "1");
      }
    }
    assert(limited > 50 && world.hints.length >= 50, `${limited} limited, ${world.hints.length} taken`);
  });
});

async function toolCall(
  { server }: World,
  name: string,
  body: string,
  headers: Record<string, string> = JSON_TYPE,
): Promise<{ status: number; body: string }> {
  const response = await fetch(`${server.url}/tool/${name}`, {
    method: "POST",
    headers: { authorization: `Bearer ${server.tokens.tool}`, ...headers },
    body,
  });
  return { status: response.status, body: await response.text() };
}

Deno.test("a tool is called with what was posted, and only one that there is, in bounds", async () => {
  await withControl(async (world) => {
    const answer = await toolCall(world, "relay_send", '{"to":"a","text":"b"}');
    assertEquals([answer.status, answer.body], [200, '{"text":"called","isError":false}']);
    assertEquals(world.calls.splice(0), [{ name: "relay_send", args: { to: "a", text: "b" } }]);
    for (const name of ["relay_claim", "constructor", "RELAY_SEND", "relay_send/x", ""]) {
      assertEquals((await toolCall(world, name, "{}")).status, 404, name);
    }
    for (const body of ["", "[]", "null", "x", '{"__proto__":{}}']) {
      assertEquals((await toolCall(world, "relay_send", body)).status, 400, body);
    }
    assertEquals((await toolCall(world, "relay_send", "{}", { "content-type": "text/plain" })).status, 415);
    assertEquals((await toolCall(world, "relay_send", `{"text":"${"x".repeat(1024 * 1024)}"}`)).status, 413);
    assertEquals(world.calls, []);
  });
});

Deno.test("tool calls are limited in number and at a time, apart from the agent's hooks", async () => {
  await withControl(async (world) => {
    const gone = new AbortController();
    const { tool, hook } = world.server.tokens;
    const post = (args: unknown, signal?: AbortSignal) =>
      fetch(`${world.server.url}/tool/relay_send`, {
        method: "POST",
        headers: { ...JSON_TYPE, authorization: `Bearer ${tool}` },
        body: JSON.stringify(args),
        ...(signal === undefined ? {} : { signal }),
      }).then(async (response) => {
        await response.text();
        return response.status;
      });
    const hanging = Array.from({ length: 8 }, () => post({ hang: true }, gone.signal).catch(() => "gone"));
    await until("the calls", () => world.calls.length === 8);
    assertEquals(await post({}), 429);
    gone.abort();
    assertEquals(await Promise.all(hanging), Array(8).fill("gone"));
    // Whoever hung up holds no place.
    await until("a free place", async () => await post({}) === 200);
    const statuses: number[] = [];
    for (let i = 0; i < 40; i++) statuses.push(await post({}));
    assert(statuses.includes(429) && world.calls.length < 40, `${world.calls.length} calls`);
    const good = { ...JSON_TYPE, authorization: `Bearer ${hook}` };
    assertEquals((await call(world, "POST /status", good, '{"status":"busy"}')).status, 200);
  });
});

Deno.test("a call that waits ends with the server", async () => {
  await withControl(async ({ server, calls }) => {
    const hanging = fetch(`${server.url}/tool/relay_send`, {
      method: "POST",
      headers: { ...JSON_TYPE, authorization: `Bearer ${server.tokens.tool}` },
      body: '{"hang":true}',
    }).then((response) => response.json());
    await until("the call", () => calls.length === 1);
    await server.stop();
    assertEquals(await hanging, { text: "the runner is ending", isError: true });
  });
});

Deno.test("without a relay there is no tool and no token for one", async () => {
  await withControl(async (world) => {
    assertEquals((await toolCall(world, "relay_agents", "{}")).status, 404);
    assert(!Deno.readTextFileSync(world.server.controlFile).includes(world.server.tokens.tool));
  }, { tools: null });
});
