import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { VERSION } from "../../base/version.ts";
import type { RunSettings } from "../../config/contract.ts";
import { createRelayHost, type RelayHost } from "../../relay/host.ts";
import type { RelayAddress } from "./relay_address.ts";

/** How often a lost embedded relay is looked for. */
const RELAY_LOOK_MS = 300;

/** What finding and keeping a relay needs. */
export interface RelayDeps {
  clock: Clock;
  random(): number;
  log: Log;
}

/** A relay to be on; `host` is there when this process may serve it itself. */
export interface RelayPlace {
  url: string;
  token: string | null;
  host: RelayHost | null;
}

/** The relay at an address; with none configured, also the host that can be it. */
export function relayPlace(
  address: RelayAddress,
  settings: RunSettings,
  deps: RelayDeps,
): RelayPlace {
  if (!address.own) return { url: address.url, token: address.token, host: null };
  const { url, token } = address;
  const { clock } = deps;
  const log = deps.log.child("relay");
  const host = createRelayHost({
    url,
    token,
    clock,
    log,
    serve: async () => {
      const { serveRelay } = await import("../../relay/serve.ts");
      return await serveRelay({
        hostname: "127.0.0.1",
        port: settings.port.value,
        dbPath: settings.paths.relayDb,
        token,
        embedded: true,
        version: VERSION,
        clock,
        log,
      });
    },
  });
  return { url, token, host };
}

/** Looks for the embedded relay while the bus is down, and serves it when nobody does. */
export function relayWatch(host: RelayHost | null, deps: RelayDeps): { lost(): void; stop(): void } {
  let cancel: (() => void) | null = null;
  let stopped = false;
  const look = () => {
    cancel = null;
    if (stopped || host === null || host.serving) return;
    host.ensure().catch((error) => deps.log.warn("cannot serve the relay", { error: messageOf(error) }));
  };
  return {
    lost() {
      if (host === null || stopped || cancel !== null) return;
      // Spread, so that many runners of one machine do not all try in the same moment.
      cancel = deps.clock.setTimer(RELAY_LOOK_MS * deps.random(), look);
    },
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}
