import { RunnerError } from "../../base/errors.ts";
import type { RunSettings } from "../../config/contract.ts";
import { ownRelayToken, readTokenFile } from "../../config/token.ts";

/** Where the relay is, and what opens it. `own` when nobody configured one: this process may serve it itself. */
export type RelayAddress =
  | { own: true; url: string; token: string }
  | { own: false; url: string; token: string | null };

/** Says where the relay is and with which token, without looking whether it is there. */
export async function relayAddress(settings: RunSettings): Promise<RelayAddress> {
  const { paths, relay } = settings;
  const configured = relay.url.value;
  if (configured !== null) {
    return {
      url: configured,
      token: relay.token.value ?? await knownToken(configured, settings),
      own: false,
    };
  }
  return {
    url: `http://127.0.0.1:${settings.port.value}`,
    token: relay.token.value ?? await ownRelayToken(paths.relayTokenFile),
    own: true,
  };
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
