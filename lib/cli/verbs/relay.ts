import { resolve } from "@std/path";
import { RelayHttpClient } from "agent-relay-sdk";
import { delay, systemClock } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import { createLogger, humanLine } from "../../base/logger.ts";
import { ensurePrivateDir } from "../../base/private_file.ts";
import { createRedactor } from "../../base/redact.ts";
import { VERSION } from "../../base/version.ts";
import { loadConfigFiles } from "../../config/load.ts";
import { resolvePaths } from "../../config/paths.ts";
import { DEFAULT_RELAY_PORT } from "../../config/relay_url.ts";
import { ownRelayToken, readTokenFile } from "../../config/token.ts";
import type { RelayServer } from "../../relay/contract.ts";
import { checkGivenDatabase } from "../../relay/given_database.ts";
import { serveRelay } from "../../relay/serve.ts";
import type { Invocation, Io, Verb } from "../contract.ts";
import { runIo } from "../run/run_io.ts";
import { onEndSignal } from "../run/signals.ts";
import { durationFlag } from "../flag_values.ts";

const LEASE_MS = 60_000;
/** How long runners may take to hand the port over. */
const TAKEOVER_MS = 15_000;
const RETRY_MS = 25;

/** Serves the relay by itself until SIGTERM, SIGINT or SIGHUP. What nobody reads of its outputs stops it as little. */
export const run: Verb = async (invocation, given) => {
  const outputs = runIo(given, { clock: systemClock, form: "text" });
  try {
    return await serve(invocation, outputs.io);
  } finally {
    await outputs.end(false);
  }
};

async function serve({ flags }: Invocation, io: Io): Promise<number> {
  const text = (name: string) => typeof flags[name] === "string" ? flags[name] : undefined;
  const paths = resolvePaths(io.env);
  const { config } = await loadConfigFiles(paths, null, io.env);
  const hostname = text("host") ?? "127.0.0.1";
  const port = Number(text("port") ?? config.relayPort ?? DEFAULT_RELAY_PORT);
  const tokenFile = text("token-file");
  const given = text("db");
  if (given !== undefined) checkGivenDatabase(resolve(io.cwd, given));
  ensurePrivateDir(paths.home, { mayBeLink: true });
  const token = flags["no-auth"] === true
    ? null
    : tokenFile !== undefined
    ? await readTokenFile(resolve(io.cwd, tokenFile))
    : await ownRelayToken(paths.relayTokenFile);
  const redactor = createRedactor();
  redactor.add(token);
  const log = createLogger({
    level: "info",
    clock: systemClock,
    redactor,
    sinks: [(line) => io.err(humanLine(line))],
  });
  const stop = Promise.withResolvers<void>();
  const untrap = onEndSignal(() => stop.resolve());
  try {
    const begin = () =>
      serveRelay({
        hostname,
        port,
        dbPath: resolve(io.cwd, given ?? paths.relayDb),
        token,
        embedded: false,
        version: VERSION,
        leaseMs: durationFlag(flags["claim-lease"], LEASE_MS),
        clock: systemClock,
        log,
      });
    const server = await serveOrTakeOver(begin, port, token);
    io.out(
      flags.json === true
        ? JSON.stringify({ url: server.url, port: server.port, storeId: server.storeId, pid: Deno.pid }) +
          "\n"
        : `relay: ${server.url} (store ${server.storeId})\n`,
    );
    await stop.promise;
    await server.stop();
    return 0;
  } finally {
    untrap();
  }
}

/**
 * Serves; when a runner serves an embedded relay on the port, asks it to yield and takes its place. Another runner may
 * be faster than we are: that one is asked as well.
 */
async function serveOrTakeOver(
  begin: () => Promise<RelayServer>,
  port: number,
  token: string | null,
): Promise<RelayServer> {
  const http = new RelayHttpClient({ url: `http://127.0.0.1:${port}`, token });
  const deadline = systemClock.mono() + TAKEOVER_MS;
  let yielded = false;
  for (;;) {
    try {
      return await begin();
    } catch (error) {
      if (!(error instanceof RunnerError) || (error.code !== "E_RELAY_PORT" && error.code !== "E_STATE")) {
        throw error;
      }
      const health = await http.health();
      if (health.ok && health.value.embedded) yielded = (await http.yieldRelay()).ok || yielded;
      if (health.ok && !health.value.embedded && (await http.listAgents()).ok) {
        throw new RunnerError("E_RELAY_PORT", `a relay of this home serves on port ${port} already`, {
          hint: `it needs no second one; see "runner status"`,
        });
      }
      // Nobody of ours is there, or one that does not yield: unless it is just leaving, that is how it stays.
      if (!yielded || (health.ok && !health.value.embedded) || systemClock.mono() > deadline) throw error;
      await delay(systemClock, RETRY_MS);
    }
  }
}
