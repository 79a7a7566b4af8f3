import { join } from "@std/path";
import { RelayBusClient, RelayHttpClient } from "agent-relay-sdk";
import { afterReadyInput, type Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import { randomHex } from "../../base/secret.ts";
import type { RunSettings } from "../../config/contract.ts";
import { type ControlServer, serveControl } from "../../control/server.ts";
import { frameMessage } from "../../inbox/framing.ts";
import { openJournal } from "../../inbox/journal.ts";
import type { Journal } from "../../inbox/contract.ts";
import { keyOf, LOCAL_STORE } from "../../inbox/core/row.ts";
import { cpuTimeMs } from "../../process/cpu_time.ts";
import type { Message } from "../../protocol/message.ts";
import type { RegisterPayload } from "../../protocol/frames.ts";
import type { ProviderAdapter, ProviderSetup, ToolPort } from "../../providers/contract.ts";
import type { RelayBus } from "../../sdk/contract.ts";
import type { CoreConfig } from "../../runner/core/types.ts";
import type { AgentTools, AgentToolsOptions } from "../../runner/agent_tools.ts";
import { watchMemory } from "../../runner/memory_watch.ts";
import { noBus, noHttp } from "../../runner/no_relay.ts";
import type { RunnerPorts } from "../../runner/ports.ts";
import { Runner } from "../../runner/runner.ts";
import type { AgentPlace } from "./agent_place.ts";
import type { RunFollower } from "./follower.ts";
import { logFileOf } from "./log_file.ts";
import { type RelayPlace, relayWatch } from "./relay_place.ts";
import { viewOfRun } from "./run_view.ts";
import type { Session, SessionDeps } from "./session.ts";
import type { Undo } from "./undo.ts";

const SETTLE_MS = 5_000;
const PROBE_AFTER_MS = 60_000;
/** Claude Code and Codex are ready within a second; a machine may be a hundred times as busy. */
const START_TIMEOUT_MS = 60_000;
const MAX_FAILURES = 5;
const MAX_QUEUE = 1_000;
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** What is there of a run when the rest of it is put together. */
export interface Begun {
  settings: RunSettings;
  deps: SessionDeps;
  undo: Undo;
  adapter: ProviderAdapter;
  place: AgentPlace;
  /** Null for a run without a relay. */
  relay: RelayPlace | null;
  /** Resolves once the relay is there; rejects when it cannot be. Waited for before the agent gets a conversation. */
  relayThere: Promise<void>;
  setup: ProviderSetup;
  /** What the agent may do unasked: an approval mode, or the provider's own word. */
  approval: string;
}

/**
 * Puts the rest of a run together: journal, relay, control server, bus, runner; and starts it. Throws what cannot work;
 * what was begun by then is in `undo`.
 */
export async function assemble(begun: Begun): Promise<Session> {
  const { settings, deps, undo, adapter, place, relay, setup, approval } = begun;
  const { clock, redactor, log, follow } = deps;
  const { agentId, runnerId, processes } = place;

  const journal = openJournal({
    path: join(place.dir, "journal.db"),
    clock,
    log: log.child("inbox"),
  });
  undo.add(() => journal.close());

  let runner: Runner | null = null;
  // Typed mentions do nothing in a message of the session socket; in a prompt of stream-json they do.
  const mentions = settings.provider === "claude" && settings.headless ? { mentions: "shown" } as const : {};
  const frame = (message: Message, redelivery: number) =>
    frameMessage(message, { nonce: randomHex(16), redelivery, ...mentions });
  // What the agent or its runner asks over HTTP it asks as the agent, once it has that token.
  const http = relay === null
    ? null
    : new RelayHttpClient({ url: relay.url, token: () => bus!.agentToken ?? relay.token });
  const tools = http === null ? null : lazyTools({
    agentId,
    http,
    frame: (message) => frame(message, 0),
    isOpen: (message) => isOpen(journal, message),
    deliver: (message) => runner?.onMessage(message),
    clock,
    log: log.child("tools"),
  });
  const control = serveControl({
    dir: place.dir,
    agentId,
    clock,
    log: log.child("control"),
    view: () => runner === null ? null : viewOfRun(runner, { begun, bus }),
    watch: deps.watch,
    tools,
    events: {
      statusHint: (status) => log.debug("status hint", { status }),
      hook: (name, body, incarnation) => {
        runner?.onHook({ name, body }, incarnation);
        return Promise.resolve({});
      },
      shutdown: () => runner?.post({ type: "signal", signal: "SIGTERM" }),
    },
  });
  undo.add(() => control.stop());
  for (const token of Object.values(control.tokens)) redactor.add(token);

  const instanceId = crypto.randomUUID();
  const watch = relayWatch(relay?.host ?? null, deps);
  undo.add(() => watch.stop());
  const bus = relay === null ? null : new RelayBusClient({
    url: relay.url,
    token: relay.token,
    registration: registration(settings, { place, instanceId, approval }),
    events: {
      state: (state) => {
        if (state.state === "waiting") watch.lost();
        if (state.state === "registered") redactor.add(bus!.agentToken);
        runner?.onTransport(state);
      },
      message: (message) => {
        if (tools?.takes(message) !== true) runner?.onMessage(message);
      },
      command: (payload) => runner?.onCommand(payload),
      dropped: (letter) => runner?.onDropped(letter),
      woke: () => runner?.onWake(),
    },
    clock,
    random: deps.random,
    log: log.child("bus"),
  });
  const started = new Runner(coreConfig(settings, deps, { place, instanceId, window: adapter.window }), {
    clock,
    random: deps.random,
    afterReadyInput,
    log,
    bus: bus ?? noBus,
    http: http ?? noHttp,
    journal,
    adapter,
    processes,
    monitor: control.monitor,
    launch: (start) => ({
      ...setup,
      ...start,
      control: { url: control.url, hookToken: control.tokens.hook },
      ...(tools === null ? {} : { tools }),
    }),
    frame,
    redact: (text) => redactor.redact(text),
    cpuMs: (pid) => cpuTimeMs(pid, clock),
    watchdog: (ms) => processes.watchdog(ms),
    ...heard(follow, deps, place),
  });
  await begun.relayThere;
  runner = started;
  follow.started({ agentId, runnerId, relayUrl: relay?.url ?? null, masked: secretsOf(relay, control) });
  started.start();
  if (settings.prompt !== null) started.onMessage(promptMessage(settings.prompt, agentId, clock));
  bus?.connect();
  undo.add(guardMemory(started, { bus, relay, control }, deps));
  return {
    agentId,
    runnerId,
    relayUrl: relay?.url ?? null,
    approval,
    logFile: logFileOf(settings.paths.logsDir, agentId),
    view: () => started.view(),
    signal: (name) => started.post({ type: "signal", signal: name }),
    suspend: async (signal) => {
      processes.suspend();
      // Mail by its label waits for a stale agent, as it does not for one that is offline. The relay that notes it may be
      // the one of this process.
      await bus?.pause({ agentStatus: "stale", ready: false, meta: { reason: "suspended" } });
      if (!signal.aborted) await relay?.host?.suspend();
    },
    resume: () => {
      processes.resume();
      relay?.host?.resume();
      bus?.connect();
    },
    ended: started.ended.then(async (outcome) => {
      try {
        journal.prune(clock.wall());
      } catch (error) {
        log.warn("cannot prune the journal", { reason: messageOf(error) });
      }
      await undo.run();
      return outcome;
    }),
  };
}

/** The agent's tools, loaded when it first calls one: every run has to start, and most never do. */
function lazyTools(options: AgentToolsOptions): ToolPort & Pick<AgentTools, "takes"> {
  let loaded: AgentTools | null = null;
  return {
    takes: (message) => loaded?.takes(message) === true,
    async call(name, args, signal) {
      const { AgentTools } = await import("../../runner/agent_tools.ts");
      loaded ??= new AgentTools(options);
      return await loaded.call(name, args, signal);
    },
  };
}

/** True while the agent has the message and its turn has not ended. */
function isOpen(journal: Journal, { storeId, id }: Message): boolean {
  const row = journal.find(keyOf(storeId, id));
  return row !== null && !["done", "failed", "skipped", "dead", "dropped"].includes(row.state.state);
}

/** What the relay is told of the agent. */
function registration(
  settings: RunSettings,
  { place, instanceId, approval }: { place: AgentPlace; instanceId: string; approval: string },
): RegisterPayload {
  return {
    role: "provider",
    componentId: place.runnerId,
    agentId: place.agentId,
    instanceId,
    capabilities: settings.capabilities,
    tags: settings.tags,
    machine: place.machine,
    meta: {
      provider: settings.provider,
      runnerId: place.runnerId,
      runnerManaged: true,
      cwd: settings.cwd.value,
      approvalMode: approval,
      label: settings.label.value,
      lifecycleCapabilities: {
        shutdownHard: true,
        restartHard: true,
        semanticStatus: true,
        transportReconnect: true,
      },
    },
  };
}

function coreConfig(
  settings: RunSettings,
  deps: Pick<SessionDeps, "remoteLifecycle">,
  { place, instanceId, window }: { place: AgentPlace; instanceId: string; window: number },
): CoreConfig {
  return {
    agentId: place.agentId,
    runnerId: place.runnerId,
    instanceId,
    provider: settings.provider,
    label: settings.label.value,
    tags: settings.tags,
    capabilities: settings.capabilities,
    headless: settings.headless,
    goal: settings.goal,
    conversation: settings.conversation.value,
    window,
    remoteLifecycle: deps.remoteLifecycle,
    drainTimeoutMs: settings.drainTimeoutMs.value,
    stopGraceMs: settings.stopGraceMs,
    settleMs: SETTLE_MS,
    probeAfterMs: PROBE_AFTER_MS,
    startTimeoutMs: settings.headless ? START_TIMEOUT_MS : Infinity,
    stallTimeoutMs: settings.stallTimeoutMs.value === 0 ? Infinity : settings.stallTimeoutMs.value,
    maxFailures: MAX_FAILURES,
    maxQueue: MAX_QUEUE,
    maxBodyBytes: MAX_BODY_BYTES,
  };
}

/** What whoever follows the run hears of it. */
function heard(
  follow: RunFollower,
  deps: Pick<SessionDeps, "agentEnded">,
  place: AgentPlace,
): Pick<RunnerPorts, "output" | "stage" | "turn" | "ending" | "providerEnded"> {
  return {
    output: (text) => follow.output(text),
    stage: (report, local) => follow.stage(report, local),
    turn: (turn) => follow.turn(turn),
    ending: (outcome, report) => {
      // Before the relay tells anybody that the agent is stopped.
      place.ending();
      follow.ending(outcome, report);
    },
    providerEnded: (status) => deps.agentEnded?.(status),
  };
}

/** The run's own prompt as a message that never was at a relay. */
function promptMessage(prompt: string, agentId: string, clock: Clock): Message {
  return {
    id: clock.wall(),
    storeId: LOCAL_STORE,
    from: "operator",
    to: agentId,
    kind: "prompt",
    body: prompt,
    claimable: false,
    createdAt: clock.wall(),
  };
}

/** Watches the memory of this process; returns how to stop that. */
function guardMemory(
  runner: Runner,
  { bus, relay, control }: { bus: RelayBus | null; relay: RelayPlace | null; control: ControlServer },
  { clock, log }: Pick<SessionDeps, "clock" | "log">,
): () => void {
  return watchMemory({
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
  });
}

/** Secrets that this run has made itself; a CI service is told to mask them. */
function secretsOf(relay: RelayPlace | null, control: ControlServer): string[] {
  const own = relay !== null && relay.host !== null && relay.token !== null ? [relay.token] : [];
  return [...own, ...Object.values(control.tokens)];
}
