import { delay, TIMED_OUT, withDeadline } from "../base/clock.ts";
import { RateLimit } from "../base/rate_limit.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { writeFileAtomic } from "../base/private_file.ts";
import { randomToken, sameSecret } from "../base/secret.ts";
import { readAllCapped } from "../base/bytes.ts";
import { decodeJson, isRecord } from "../protocol/codec.ts";
import { httpStatusOf } from "../protocol/http_status.ts";
import { INCARNATION_HEADER } from "../protocol/control.ts";
import { isToolName } from "../protocol/tools.ts";
import type { MonitorPort, ToolPort } from "../providers/contract.ts";
import { adminFileOf, type ControlEvents, controlFileOf, type ControlScope } from "./contract.ts";
import { MonitorDoor } from "./monitor.ts";
import { ToolDoor } from "./tool_door.ts";
import type { WatchDoor } from "./watch.ts";

const STATUS_BODY = 8 * 1024;
const HOOK_BODY = 1024 * 1024;
/** A text of the longest kind, written with escapes. */
const TOOL_BODY = 1024 * 1024;
const BODY_MS = 2_000;
const STATUS_RATE = { burst: 50, perSecond: 20 };
const STATUSES = new Set(["idle", "busy", "offline", "error"]);
const URL_LIMIT = 2_048;

/** A running control server. */
export interface ControlServer {
  readonly url: string;
  /** File that tells the agent's side where the server is; holds the tokens for hooks, monitor and tools, never admin's. */
  readonly controlFile: string;
  /** The agent's monitor, when there is one. */
  readonly monitor: MonitorPort & { drop(): void };
  /** Tokens by scope; registered with the redactor by the caller. */
  readonly tokens: Readonly<Record<ControlScope, string>>;
  /** Stops and removes both files. Idempotent, at most a second. */
  stop(): Promise<void>;
}

/** How to serve. */
export interface ControlOptions {
  /** Private 0700 directory for `control.json` (hook scope) and `admin.json` (admin scope). */
  dir: string;
  agentId: string;
  events: ControlEvents;
  /** Answer of `GET /status`. */
  view(): unknown;
  /** Answers `GET /watch`. */
  watch: WatchDoor;
  /** Answers `POST /tool/<name>`; null when the agent has no tools. */
  tools: ToolPort | null;
  clock: Clock;
  log: Log;
}

/**
 * Serves the agent's door to its runner on 127.0.0.1, a random port. Every request needs a token of the right
 * scope; anything a web page could send (Origin, Sec-Fetch, a foreign Host) is refused before the token is read.
 */
export function serveControl(options: ControlOptions): ControlServer {
  const { dir, events, clock, log } = options;
  const tokens = { hook: randomToken(), monitor: randomToken(), tool: randomToken(), admin: randomToken() };
  const monitor = new MonitorDoor(log);
  const abort = new AbortController();
  let port = 0;
  const over = new AbortController();
  const statusRate = new RateLimit(clock, STATUS_RATE);
  const tools = options.tools === null
    ? null
    : new ToolDoor(options.tools, { clock, log, over: over.signal });

  const scopeOf = (request: Request): ControlScope | null => {
    const given = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "")?.[1];
    if (given === undefined) return null;
    // All are compared always, so that the time says nothing about which one was near.
    const admin = sameSecret(given, tokens.admin);
    const hook = sameSecret(given, tokens.hook);
    const watcher = sameSecret(given, tokens.monitor);
    const tool = sameSecret(given, tokens.tool);
    return admin ? "admin" : hook ? "hook" : watcher ? "monitor" : tool ? "tool" : null;
  };

  const route = async (request: Request, url: URL, scope: ControlScope): Promise<unknown> => {
    const need = (wanted: ControlScope) => {
      if (scope !== wanted) throw new RunnerError("E_FORBIDDEN", "unauthorized");
    };
    const call = `${request.method} ${url.pathname}`;
    switch (call) {
      case "GET /health":
        return { ok: true, service: "agent-relay-runner", agentId: options.agentId };
      case "GET /status":
        need("admin");
        return options.view();
      case "POST /status": {
        need("hook");
        if (!statusRate.allows()) throw new RunnerError("E_RATE", "rate limit");
        events.statusHint(statusOf(await readBody(request, STATUS_BODY)));
        return { ok: true };
      }
      case "GET /watch":
        need("admin");
        return options.watch.accept();
      case "POST /shutdown":
        need("admin");
        events.shutdown();
        return { ok: true };
      case "GET /monitor":
        need("monitor");
        if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
          throw new RunnerError("E_BAD_REQUEST", "expected a WebSocket upgrade");
        }
        return monitor.accept(request);
    }
    const hook = /^\/hook\/([A-Za-z]{1,40})$/.exec(url.pathname);
    if (hook && request.method === "POST") {
      need("hook");
      const incarnation = /^\d{1,9}$/.exec(request.headers.get(INCARNATION_HEADER) ?? "")?.[0];
      const body = await readBody(request, HOOK_BODY);
      return await events.hook(hook[1]!, body, incarnation === undefined ? null : Number(incarnation));
    }
    const tool = /^\/tool\/([a-z_]{1,40})$/.exec(url.pathname)?.[1];
    if (tool !== undefined && request.method === "POST") {
      need("tool");
      if (tools === null || !isToolName(tool)) throw new RunnerError("E_NOT_FOUND", "no_such_tool");
      return await tools.answer(tool, () => readBody(request, TOOL_BODY));
    }
    if (["/health", "/status", "/watch", "/shutdown", "/monitor"].includes(url.pathname)) {
      throw new RunnerError("E_METHOD", "method_not_allowed");
    }
    throw new RunnerError("E_NOT_FOUND", "not_found");
  };

  const handler = async (request: Request): Promise<Response> => {
    try {
      const url = guard(request, port);
      const scope = scopeOf(request);
      if (scope === null) throw new RunnerError("E_UNAUTHORIZED", "unauthorized");
      const value = await route(request, url, scope);
      return value instanceof Response ? value : answer(value, 200);
    } catch (error) {
      if (error instanceof RunnerError) {
        return answer({ error: error.message }, httpStatusOf(error.code), error);
      }
      log.error("a control request failed", { error: messageOf(error) });
      return answer({ error: "internal" }, 500);
    }
  };
  const start = () =>
    Deno.serve({ hostname: "127.0.0.1", port, signal: abort.signal, onListen: () => {} }, handler);
  let server = start();
  port = server.addr.port;

  // The accept loop of Deno.serve ends when file descriptors run out: serve again on the same port.
  const serving = (async () => {
    for (let tries = 0; !over.signal.aborted; tries++) {
      try {
        return await server.finished;
      } catch (error) {
        log.warn("the control server stopped accepting, binding again", { error: messageOf(error) });
      }
      try {
        await delay(clock, Math.min(5_000, 100 * 2 ** tries), over.signal);
        server = start();
      } catch (error) {
        log.debug("the control server cannot bind yet", { error: messageOf(error) });
      }
    }
  })();

  const url = `http://127.0.0.1:${port}`;
  const controlFile = controlFileOf(dir);
  const adminFile = adminFileOf(dir);
  writeFileAtomic(
    controlFile,
    JSON.stringify({
      url,
      agentId: options.agentId,
      token: tokens.hook,
      monitorToken: tokens.monitor,
      ...(tools === null ? {} : { toolToken: tokens.tool }),
    }) + "\n",
  );
  writeFileAtomic(
    adminFile,
    JSON.stringify({ url, agentId: options.agentId, pid: Deno.pid, token: tokens.admin }) + "\n",
  );
  let stopping: Promise<void> | null = null;
  return {
    url,
    controlFile,
    tokens,
    monitor,
    stop() {
      stopping ??= (async () => {
        over.abort(new Error("the runner is ending"));
        monitor.stop();
        options.watch.stop();
        for (const file of [controlFile, adminFile]) {
          try {
            Deno.removeSync(file);
          } catch { /* gone already */ }
        }
        const drained = server.shutdown().catch(() => {});
        if (await withDeadline(clock, 500, drained) === TIMED_OUT) abort.abort();
        await withDeadline(clock, 500, serving.catch(() => {}));
      })();
      return stopping;
    },
  };
}

/** Refuses what a browser or a confused proxy could send; returns the parsed URL. */
function guard(request: Request, port: number): URL {
  for (const name of request.headers.keys()) {
    if (name === "origin" || name.startsWith("sec-fetch-")) {
      throw new RunnerError("E_FORBIDDEN", "forbidden_origin");
    }
  }
  // Before the URL is looked at: a Host that is no host makes it unparsable.
  const host = `127.0.0.1:${port}`;
  if (request.headers.get("host") !== host) throw new RunnerError("E_FORBIDDEN", "forbidden_host");
  if (request.url.length > URL_LIMIT) throw new RunnerError("E_TOO_LARGE", "url_too_long");
  const url = URL.parse(request.url);
  if (url === null || url.host !== host) throw new RunnerError("E_FORBIDDEN", "forbidden_host");
  if (request.method !== "GET" && request.method !== "POST") {
    throw new RunnerError("E_METHOD", "method_not_allowed");
  }
  return url;
}

async function readBody(request: Request, maxBytes: number): Promise<Record<string, unknown>> {
  const type = (request.headers.get("content-type") ?? "").trim();
  if (!/^application\/json(\s*;\s*charset=utf-8)?$/i.test(type)) {
    throw new RunnerError("E_MEDIA_TYPE", "expected application/json");
  }
  let body;
  try {
    body = await readAllCapped(request.body, { maxBytes, signal: AbortSignal.timeout(BODY_MS) });
  } catch {
    throw new RunnerError("E_TIMEOUT", "body_timeout");
  }
  if (!body.ok) throw new RunnerError("E_TOO_LARGE", "body_too_large");
  const decoded = decodeJson(new TextDecoder().decode(body.bytes), maxBytes);
  if (!decoded.ok && /not allowed/.test(decoded.reason)) {
    throw new RunnerError("E_BAD_REQUEST", "unknown_key");
  }
  if (!decoded.ok || !isRecord(decoded.value)) throw new RunnerError("E_BAD_REQUEST", "invalid_body");
  return decoded.value;
}

function statusOf(body: Record<string, unknown>): "idle" | "busy" | "offline" | "error" {
  const { status, ...rest } = body;
  if (Object.keys(rest).length > 0) throw new RunnerError("E_BAD_REQUEST", "unknown_key");
  if (typeof status !== "string" || !STATUSES.has(status)) {
    throw new RunnerError("E_BAD_REQUEST", "invalid_status; expected idle, busy, offline, error");
  }
  return status as "idle" | "busy" | "offline" | "error";
}

function answer(value: unknown, status: number, error?: RunnerError): Response {
  return Response.json(value, {
    status,
    headers: {
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(error?.code === "E_RATE" ? { "retry-after": "1" } : {}),
    },
  });
}
