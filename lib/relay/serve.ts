import { ensurePrivateDir, ensurePrivateFile } from "../base/private_file.ts";
import { delay, TIMED_OUT, withDeadline } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import { dirname } from "@std/path";
import { serveBus } from "./bus.ts";
import type { RelayOptions, RelayServer } from "./contract.ts";
import { errorResponse } from "./request.ts";
import { handleApi } from "./routes.ts";
import { RelayService } from "./service.ts";

const LEASE_MS = 60_000;
const STOP_MS = 2_000;
const REBIND_CAP_MS = 5_000;

/** True for addresses that only this machine can reach. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Starts a relay. Throws `E_RELAY_PORT` when the port is taken, `E_STATE` when the database is newer or in use,
 * `E_USAGE` for an address others can reach without a token.
 */
export async function serveRelay(options: RelayOptions): Promise<RelayServer> {
  const { hostname, clock, log } = options;
  if (options.token === null && !isLoopback(hostname)) {
    throw new RunnerError("E_USAGE", `a relay on ${hostname} needs a token`, {
      hint: "leave --no-auth out, or use --host 127.0.0.1",
    });
  }
  let service!: RelayService;
  let port = options.port;
  const finished = Promise.withResolvers<"stopped" | "yielded">();
  const abort = new AbortController();
  const over = new AbortController();
  const names = new Set(["127.0.0.1", "localhost", "[::1]", hostname]);
  const local = isLoopback(hostname);
  let outcome: "stopped" | "yielded" = "stopped";

  const handler = (request: Request, { completed }: Deno.ServeHandlerInfo): Response | Promise<Response> => {
    const host = request.headers.get("host");
    const named = host === null ? null : URL.parse(`http://${host}`);
    const url = named === null ? null : URL.parse(request.url);
    // A web page may reach the loopback by its own name (DNS rebinding) or with its own Origin: neither is ours.
    const ours = !local ||
      (host !== null && names.has(host.replace(/:\d+$/, "")) && host.endsWith(`:${port}`));
    if (url === null || url.host !== named?.host || !ours) {
      return errorResponse(new RunnerError("E_FORBIDDEN", "forbidden_host"));
    }
    const origin = request.headers.get("origin");
    if (origin !== null && origin !== `http://${host}`) {
      return errorResponse(new RunnerError("E_FORBIDDEN", "forbidden_origin"));
    }
    if (url.pathname === "/bus") return upgrade(request);
    return handleApi(request, url, {
      service,
      health: () => ({
        ok: true,
        service: "agent-relay",
        storeId: service.storeId,
        version: options.version,
        embedded: options.embedded,
        serverTime: service.now,
      }),
      yieldRelay: () => {
        if (!options.embedded) throw new RunnerError("E_FORBIDDEN", "a relay of its own does not yield");
        outcome = "yielded";
        // Whoever asked has the answer by then, or has gone away.
        void completed.catch(() => {}).then(stop);
      },
    });
  };
  const upgrade = (request: Request): Response => {
    const caller = service.auth.identify(request.headers);
    if (caller === null) {
      return errorResponse(new RunnerError("E_UNAUTHORIZED", "missing or wrong relay token"));
    }
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return errorResponse(new RunnerError("E_BAD_REQUEST", "expected a WebSocket upgrade"));
    }
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: 30 });
    serveBus(socket, { service, caller, clock, log });
    return response;
  };
  const start = () =>
    Deno.serve({
      hostname,
      port,
      signal: abort.signal,
      onListen: () => {},
      onError: (error) => {
        log.error("a relay request failed", { error: messageOf(error) });
        return errorResponse(error);
      },
    }, handler);
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    // The port is the lock: it is taken before the database, which belongs to whoever holds the port. No request
    // is handled before both are there, since nothing here waits.
    server = start();
    port = server.addr.port;
  } catch (error) {
    throw portTaken(error, hostname, port);
  }
  try {
    // The home, which may be a link; a database elsewhere is for its user to place.
    ensurePrivateDir(dirname(options.dbPath), { mayBeLink: true });
    ensurePrivateFile(options.dbPath);
    service = new RelayService({ ...options, leaseMs: options.leaseMs ?? LEASE_MS });
  } catch (error) {
    abort.abort();
    await server.finished.catch(() => {});
    throw error;
  }
  // When file descriptors run out, the accept loop of Deno.serve ends with an error: serve again.
  const keepServing = async () => {
    for (let tries = 0; !over.signal.aborted; tries++) {
      try {
        await server.finished;
        return;
      } catch (error) {
        log.warn("the relay stopped accepting, binding again", { error: messageOf(error) });
      }
      try {
        await delay(clock, Math.min(REBIND_CAP_MS, 100 * 2 ** tries), over.signal);
        server = start();
      } catch (error) {
        log.warn("the relay cannot bind yet", { error: messageOf(error) });
      }
    }
  };
  const serving = keepServing();

  let stopping: Promise<void> | null = null;
  const stop = () => {
    stopping ??= (async () => {
      over.abort();
      service.stop();
      const drained = server.shutdown().catch(() => {});
      // Aborting a server that has shut down throws (Deno 2.9.6), so only a stuck one is aborted.
      if (await withDeadline(clock, STOP_MS / 2, drained) === TIMED_OUT) abort.abort();
      await withDeadline(clock, STOP_MS / 2, serving.catch(() => {}));
      finished.resolve(outcome);
    })();
    return stopping;
  };
  const shownHost = hostname.includes(":") ? `[${hostname}]` : hostname;
  return {
    url: `http://${shownHost}:${port}`,
    hostname,
    port,
    storeId: service.storeId,
    finished: finished.promise,
    dropClients: () => service.dropClients(),
    stop,
  };
}

function portTaken(error: unknown, hostname: string, port: number): RunnerError {
  if (error instanceof Deno.errors.AddrInUse) {
    return new RunnerError("E_RELAY_PORT", `port ${port} is taken`, {
      where: hostname,
      hint: "another program uses it; choose one with --port",
      cause: error,
    });
  }
  return new RunnerError("E_RELAY_PORT", `cannot listen on ${hostname}:${port}: ${messageOf(error)}`, {
    hint: "choose another --host or --port",
    cause: error,
  });
}
