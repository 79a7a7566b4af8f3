import { join, resolve } from "@std/path";
import { RelayBusClient, RelayHttpClient } from "agent-relay-sdk";
import { afterReadyInput, type Clock } from "../../base/clock.ts";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { ensurePrivateDir } from "../../base/private_file.ts";
import type { Redactor } from "../../base/redact.ts";
import { randomHex } from "../../base/secret.ts";
import { VERSION } from "../../base/version.ts";
import { childEnv } from "../../config/child_env.ts";
import { resolveCommand } from "../../config/command_path.ts";
import type { RunSettings } from "../../config/contract.ts";
import { newRunnerId, slotId, stableAgentId } from "../../config/identity.ts";
import { readTokenFile } from "../../config/token.ts";
import { ownRelayToken } from "../../config/token.ts";
import { serveControl } from "../../control/server.ts";
import { frameMessage } from "../../inbox/framing.ts";
import { LOCAL_STORE } from "../../inbox/core/row.ts";
import { openJournal } from "../../inbox/journal.ts";
import { endLeftovers, forgetRun, noteRun } from "../../process/leftovers.ts";
import { lockInstance } from "../../process/lock.ts";
import type { ExitStatus } from "../../process/contract.ts";
import { createProcesses, RUN_MARKER } from "../../process/mod.ts";
import type { ProviderAdapter, ProviderLaunch } from "../../providers/contract.ts";
import { createRelayHost, type RelayHost } from "../../relay/host.ts";
import type { ExitOutcome } from "../../runner/core/types.ts";
import { noBus, noHttp } from "../../runner/no_relay.ts";
import { watchMemory } from "../../runner/memory_watch.ts";
import { Runner, type RunnerView } from "../../runner/runner.ts";
import { selfCommand } from "../self_command.ts";
import { loadAdapter } from "./adapters.ts";
import type { RunFollower } from "./follower.ts";

const SETTLE_MS = 5_000;
const STALL_MS = 60_000;
const MAX_FAILURES = 5;
const MAX_QUEUE = 1_000;
const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** How often a lost embedded relay is looked for. */
const RELAY_LOOK_MS = 300;

/** What a run needs beside its settings. */
export interface SessionDeps {
  clock: Clock;
  random(): number;
  log: Log;
  redactor: Redactor;
  /** The parent's environment, from which the agent's is made. */
  env: Readonly<Record<string, string>>;
  /** Whoever follows the run: its output, stages and end. */
  follow: RunFollower;
  remoteLifecycle: boolean;
  /** The person's terminal, which the guard puts in order when nobody else can; null without one. */
  terminal: { path: string; modes: string } | null;
  /** The agent's process ended, perhaps to be started again. */
  agentEnded?(status: ExitStatus): void;
}

/** A run under way. */
export interface Session {
  readonly agentId: string;
  readonly runnerId: string;
  /** Null for a run without a relay. */
  readonly relayUrl: string | null;
  readonly logFile: string;
  view(): RunnerView;
  /** First: drain. Second: end everything at once. */
  signal(name: string): void;
  /** Resolves when everything is down: provider, relay, journal, lock. Never rejects. */
  readonly ended: Promise<ExitOutcome>;
}

/**
 * Brings a run up: lock, guard, journal, relay, control server, bus, provider. What cannot work is found out before
 * the provider starts, and everything that was begun is taken back then.
 */
export async function startSession(
  settings: RunSettings & { port: number },
  deps: SessionDeps,
): Promise<Session> {
  const { clock, redactor, log } = deps;
  const { paths, provider } = settings;
  const undo: (() => void | Promise<void>)[] = [];
  const takeBack = async () => {
    for (const step of undo.reverse()) {
      try {
        await step();
      } catch (error) {
        log.warn("clean-up step failed", { error: messageOf(error) });
      }
    }
  };
  try {
    const adapter = await loadAdapter(provider);
    const self = selfCommand("__echo-agent");
    const command = provider === "echo"
      ? self.command
      : resolveCommand(settings.providerSettings.command.value, {
        cwd: settings.cwd.value,
        path: deps.env.PATH,
        provider,
      });
    ensurePrivateDir(paths.home);
    const identity = {
      host: Deno.hostname(),
      provider,
      label: settings.label.value,
      cwd: settings.cwd.value,
    };
    const fixedId = settings.agentId.value;
    const lock = lockInstance({
      stateDir: paths.stateDir,
      agentId: (slot) => fixedId ?? slotId(stableAgentId(identity), slot),
      fixed: fixedId !== null,
      pid: Deno.pid,
    });
    undo.push(() => lock.release());
    const { agentId, dir } = lock;
    const runnerId = newRunnerId(identity);
    await endLeftovers({ stateDir: dir, clock, log });

    const runId = crypto.randomUUID();
    noteRun(dir, runId);
    const processes = createProcesses({
      runId,
      clock,
      log: log.child("process"),
      terminal: deps.terminal,
    });
    undo.push(async () => {
      await processes.dispose({ graceMs: 0 });
      forgetRun(dir);
    });
    const journal = openJournal({ path: join(dir, "journal.db"), wall: clock.wall, log: log.child("inbox") });
    undo.push(() => journal.close());

    const relay = settings.goal.bus ? await relayAccess(settings, deps) : null;
    if (relay !== null) {
      redactor.add(relay.token);
      undo.push(() => relay.host?.stop());
      await relay.host?.ensure();
    }

    const control = serveControl({
      dir,
      agentId,
      clock,
      log: log.child("control"),
      view: () => runner.view(),
      events: {
        statusHint: (status) => log.debug("status hint", { status }),
        hook: (name, body, incarnation) => {
          runner.onHook({ name, body }, incarnation);
          return Promise.resolve({});
        },
        shutdown: () => runner.post({ type: "signal", signal: "SIGTERM" }),
      },
    });
    undo.push(() => control.stop());
    redactor.add(control.tokens.hook);
    redactor.add(control.tokens.monitor);
    redactor.add(control.tokens.admin);

    const instanceId = crypto.randomUUID();
    const watch = relayWatch(relay?.host ?? null, deps);
    undo.push(() => watch.stop());
    const bus = relay === null ? null : new RelayBusClient({
      url: relay.url,
      token: relay.token,
      registration: {
        role: "provider",
        componentId: runnerId,
        agentId,
        instanceId,
        capabilities: settings.capabilities,
        tags: settings.tags,
        machine: identity.host,
        meta: {
          provider,
          runnerId,
          runnerManaged: true,
          cwd: settings.cwd.value,
          approvalMode: settings.approval.value,
          label: settings.label.value,
          lifecycleCapabilities: {
            shutdownHard: true,
            restartHard: true,
            semanticStatus: true,
            transportReconnect: true,
          },
        },
      },
      events: {
        state: (state) => {
          if (state.state === "waiting") watch.lost();
          if (state.state === "registered") redactor.add(bus!.agentToken);
          runner.onTransport(state);
        },
        message: (message) => runner.onMessage(message),
        command: (payload) => runner.onCommand(payload),
        dropped: (letter) => runner.onDropped(letter),
      },
      clock,
      random: deps.random,
      log: log.child("bus"),
    });
    // What the agent's runner asks over HTTP it asks as the agent, once it has that token.
    const http = relay === null
      ? noHttp
      : new RelayHttpClient({ url: relay.url, token: () => bus!.agentToken ?? relay.token });
    const env = childEnv({
      parent: deps.env,
      headless: settings.headless,
      passEnv: settings.providerSettings.passEnv.value,
      configured: settings.providerSettings.env.value,
      secrets: [relay?.token ?? ""],
      run: {
        AGENT_RELAY_RUNNER_ID: runnerId,
        AGENT_RELAY_ID: agentId,
        ...(relay === null ? {} : { AGENT_RELAY_URL: relay.url }),
        AGENT_RELAY_APPROVAL: settings.approval.value,
        AGENT_RELAY_PROVIDER: provider,
        AGENT_RELAY_CONTROL_FILE: control.controlFile,
        [RUN_MARKER]: runId,
      },
    });
    const args = provider === "echo" ? [...self.args, "--", ...settings.providerArgs] : [
      ...(provider === "claude" ? pluginArguments(settings) : []),
      ...settings.providerSettings.defaultArgs.value,
      ...settings.providerArgs,
    ];
    const launch = (incarnation: number, resume: string | null): ProviderLaunch => ({
      command,
      args,
      cwd: settings.cwd.value,
      env,
      approval: settings.approval.value,
      headless: settings.headless,
      agentId,
      label: settings.label.value,
      version: VERSION,
      stateDir: dir,
      resume,
      incarnation,
      once: settings.goal.once !== null,
      maxTurns: settings.goal.maxTurns,
      maxCostUsd: settings.goal.maxCostUsd,
      control: { url: control.url, hookToken: control.tokens.hook },
      self: selfCommand,
      delivery: settings.providerSettings.delivery.value,
    });
    adapter.prepare?.(launch(0, null), clock);
    const runner = new Runner({
      agentId,
      runnerId,
      instanceId,
      provider,
      label: settings.label.value,
      tags: settings.tags,
      capabilities: settings.capabilities,
      headless: settings.headless,
      goal: settings.goal,
      window: adapter.window,
      remoteLifecycle: deps.remoteLifecycle,
      drainTimeoutMs: settings.drainTimeoutMs.value,
      stopGraceMs: settings.stopGraceMs,
      settleMs: SETTLE_MS,
      stallMs: STALL_MS,
      maxFailures: MAX_FAILURES,
      maxQueue: MAX_QUEUE,
      maxBodyBytes: MAX_BODY_BYTES,
    }, {
      clock,
      random: deps.random,
      afterReadyInput,
      log,
      bus: bus ?? noBus,
      http,
      journal,
      adapter: adapter satisfies ProviderAdapter,
      processes,
      monitor: control.monitor,
      launch,
      frame: (message, redelivery) => frameMessage(message, { nonce: randomHex(16), redelivery }),
      output: (text) => deps.follow.output(text),
      stage: (report, local) => deps.follow.stage(report, local),
      turn: (turn) => deps.follow.turn(turn),
      ending: (outcome, report) => deps.follow.ending(outcome, report),
      providerEnded: (status) => deps.agentEnded?.(status),
      watchdog: (ms) => processes.watchdog(ms),
    });
    deps.follow.started({
      agentId,
      runnerId,
      relayUrl: relay?.url ?? null,
      masked: secretsOf(relay, control),
    });
    runner.start();
    if (settings.prompt !== null) {
      runner.onMessage({
        id: clock.wall(),
        storeId: LOCAL_STORE,
        from: "operator",
        to: agentId,
        kind: "prompt",
        body: settings.prompt,
        claimable: false,
        createdAt: clock.wall(),
      });
    }
    bus?.connect();
    undo.push(watchMemory({
      clock,
      log,
      rssBytes: () => Deno.memoryUsage().rss,
      actions: {
        soft: (rssBytes) => runner.post({ type: "memory", pressure: "soft", rssBytes }),
        drop: () => {
          bus?.reconnect("short of memory");
          relay?.host?.dropClients();
          control.monitor.drop();
        },
        hard: (rssBytes) => runner.post({ type: "memory", pressure: "hard", rssBytes }),
      },
    }));
    const ended = runner.ended.then(async (outcome) => {
      journal.prune(clock.wall());
      await takeBack();
      return outcome;
    });
    return {
      agentId,
      runnerId,
      relayUrl: relay?.url ?? null,
      logFile: join(paths.logsDir, `${agentId}.log`),
      view: () => runner.view(),
      signal: (name) => runner.post({ type: "signal", signal: name }),
      ended,
    };
  } catch (error) {
    await takeBack();
    throw error;
  }
}

/** Secrets that this run has made itself; a CI service is told to mask them. */
function secretsOf(
  relay: { token: string | null; host: RelayHost | null } | null,
  control: { tokens: { hook: string; monitor: string; admin: string } },
): string[] {
  const own = relay !== null && relay.host !== null && relay.token !== null ? [relay.token] : [];
  return [...own, ...Object.values(control.tokens)];
}

/** Claude passes over a plugin directory that is not there without a word, so it is looked at here. */
function pluginArguments(settings: RunSettings): string[] {
  const { value, where } = settings.providerSettings.pluginDirs;
  return value.flatMap((given) => {
    const dir = resolve(settings.cwd.value, given);
    try {
      if (Deno.statSync(dir).isDirectory) return ["--plugin-dir", dir];
    } catch { /* said below */ }
    throw new RunnerError("E_CONFIG", `plugin directory "${shown(given)}" is not there`, {
      ...(where === undefined ? {} : { where }),
    });
  });
}

/** Where the relay is and with which token; with none configured, also the host that can be it. */
async function relayAccess(
  settings: RunSettings & { port: number },
  deps: SessionDeps,
): Promise<{ url: string; token: string | null; host: RelayHost | null }> {
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
function relayWatch(host: RelayHost | null, deps: SessionDeps): { lost(): void; stop(): void } {
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
