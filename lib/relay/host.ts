import { messageOf, RunnerError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { isInUse } from "../base/sqlite_damage.ts";
import { RelayHttpClient } from "agent-relay-sdk";
import type { RelayServer } from "./contract.ts";

/** What a runner without a configured relay does: use the one at the default address, or be it. */
export interface RelayHost {
  /** True while this process serves the relay. */
  readonly serving: boolean;
  /**
   * Looks at the address and serves the relay when nobody does. Called at start and whenever the bus is lost;
   * calls while one is under way join it. Throws `E_RELAY_AUTH` when the address belongs to somebody else.
   */
  ensure(): Promise<void>;
  /** Drops the clients of a relay served here, when memory is short. */
  dropClients(): void;
  /** Stops serving, if it does, and leaves the relay to others until `resume`. Idempotent. */
  suspend(): Promise<void>;
  /** From now on `ensure` may serve again; does nothing after `stop`. */
  resume(): void;
  /** Stops serving, if it does, for good. Idempotent. */
  stop(): Promise<void>;
}

/** How to host. */
export interface HostOptions {
  /** Base URL of the default address. */
  url: string;
  token: string;
  /** Starts the server; loaded lazily, since only one runner of a machine needs it. */
  serve(): Promise<RelayServer>;
  clock: Clock;
  log: Log;
}

/** Creates the host; nothing is touched before `ensure`. */
export function createRelayHost(options: HostOptions): RelayHost {
  const { url, token, log } = options;
  const http = new RelayHttpClient({ url, token });
  let server: RelayServer | null = null;
  let looking: Promise<void> | null = null;
  /** Why this process does not serve although it should, as it was told. */
  let told = "";
  let mode: "open" | "suspended" | "stopped" = "open";

  const look = async () => {
    if (mode !== "open" || server !== null) return;
    if (!await nobodyListens(url)) {
      const health = await http.health();
      if (health.ok) {
        const allowed = await http.listAgents({ status: "online" });
        if (!allowed.ok && allowed.kind === "auth") throw foreign(url);
        return;
      }
      if (health.kind === "auth" || health.kind === "rejected") throw foreign(url);
    }
    try {
      server = await options.serve();
    } catch (error) {
      if (!(error instanceof RunnerError)) throw error;
      // Another runner was faster, or still holds the file while it ends: it is asked again as a client.
      if (error.code !== "E_RELAY_PORT" && error.code !== "E_STATE") throw error;
      if (error.code === "E_RELAY_PORT" || isInUse(error)) {
        log.debug("not serving the relay", { reason: error.message });
      } else if (told !== error.message) {
        told = error.message;
        log.error(`cannot serve the relay: ${error.message}`, { where: error.where, hint: error.hint });
      }
      return;
    }
    told = "";
    const own = server;
    log.info("serving the relay", { url: own.url });
    void own.finished.then((how) => {
      if (server === own) server = null;
      if (how === "yielded") log.info("the relay was handed over");
    });
    if (mode !== "open") await own.stop();
  };
  const leave = async () => {
    await looking?.catch((error) => log.debug("relay host", { error: messageOf(error) }));
    await server?.stop();
  };
  return {
    get serving() {
      return server !== null;
    },
    ensure() {
      looking ??= look().finally(() => looking = null);
      return looking;
    },
    dropClients: () => server?.dropClients(),
    async suspend() {
      if (mode === "open") mode = "suspended";
      await leave();
    },
    resume() {
      if (mode === "suspended") mode = "open";
    },
    async stop() {
      mode = "stopped";
      await leave();
    },
  };
}

/**
 * True when a connection to the address is refused at once. Asked before HTTP is: the usual answer at a start is this one,
 * and loading what HTTP needs takes 10 ms and 1 MiB that an idle runner then never uses (Deno 2.9.6).
 */
async function nobodyListens(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  try {
    (await Deno.connect({ hostname, port: Number(port) })).close();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused;
  }
}

function foreign(url: string): RunnerError {
  return new RunnerError("E_RELAY_AUTH", `${new URL(url).host} belongs to another user or service`, {
    hint: "use --relay-url, or set relayPort in config.json",
  });
}
