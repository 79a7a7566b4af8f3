import type { Clock } from "../../base/clock.ts";
import { messageOf, RunnerError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { VERSION } from "../../base/version.ts";
import type { RunSettings } from "../../config/contract.ts";
import { ownRelayToken, readTokenFile } from "../../config/token.ts";
import { createRelayHost, type RelayHost } from "../../relay/host.ts";

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

/** Where the relay is and with which token; with none configured, also the host that can be it. */
export async function relayPlace(
  settings: RunSettings & { port: number },
  deps: RelayDeps,
): Promise<RelayPlace> {
  const { paths, relay } = settings;
  if (relay.url.value !== null) {
    return {
      url: relay.url.value,
      token: relay.token.value ?? await knownToken(relay.url.value, settings),
      host: null,
    };
  }
  const url = `http://127.0.0.1:${settings.port}`;
  const token = relay.token.value ?? await ownRelayToken(paths.relayTokenFile);
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
        port: settings.port,
        dbPath: paths.relayDb,
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

/** A relay on this machine that was named by its URL is most likely this home's own. */
async function knownToken(url: string, settings: RunSettings): Promise<string | null> {
  if (!/^\w+:\/\/(127\.|localhost[:/]|\[::1\])/.test(`${url}/`)) return null;
  try {
    return await readTokenFile(settings.paths.relayTokenFile);
  } catch (error) {
    if (error instanceof RunnerError && /not found/.test(error.message)) return null;
    throw error;
  }
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
