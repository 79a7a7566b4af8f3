import type { Log } from "../../lib/base/log.ts";
import type { Processes } from "../../lib/process/contract.ts";
import type {
  MonitorPort,
  ProviderAdapter,
  ProviderLaunch,
  ProviderSession,
} from "../../lib/providers/contract.ts";
import { SERVE } from "../../lib/runner/core/goal.ts";
import type { CoreConfig, ExitOutcome } from "../../lib/runner/core/types.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { Runner } from "../../lib/runner/runner.ts";
import { BusModel } from "./bus_model.ts";
import { ClaudeModel } from "./claude_model.ts";
import { CodexModel } from "./codex_model.ts";
import { EchoModel } from "./echo_model.ts";
import type { ProcessModel } from "./process_model.ts";
import { AGENT } from "./relay_model.ts";
import type { World } from "./world.ts";

const MODELS = { claude: ClaudeModel, codex: CodexModel, echo: EchoModel };
/**
 * What a dead process waits for. A fresh promise each time: one that all shared would keep every waiter, and with it
 * every world there ever was.
 */
function never(): Promise<never> {
  return new Promise(() => {});
}

const RARE_PORTS = new Set([
  "bus.claim",
  "bus.close",
  "bus.release",
  "bus.renew",
  "bus.send",
  "bus.statusAsync",
  "http.deleteAgent",
  "http.getMessage",
  "journal.find",
  "session.interrupt",
  "session.probe",
  "session.shutdown",
]);

/** How a runner's process is going or how it went. */
export type HostState = { is: "running" } | { is: "crashed"; at: string } | {
  is: "ended";
  outcome: ExitOutcome;
};

/**
 * One start of the production runner in the world. Every port goes through here, so that the process can die right
 * before or right after any of them: what a dead runner still does reaches nobody.
 */
export class Host {
  readonly world: World;
  readonly number: number;
  readonly instanceId: string;
  readonly bus: BusModel;
  readonly runner: Runner;
  state: HostState = { is: "running" };
  /** Port calls so far, for crashes at the k-th one. */
  #calls = 0;
  #cancelWatchdog: (() => void) | null = null;

  constructor(world: World, number: number) {
    this.world = world;
    this.number = number;
    this.instanceId = `instance-${number}`;
    this.bus = new BusModel(world, this);
    this.runner = new Runner(configOf(world, this), this.#ports());
    this.bus.listener = this.runner;
    this.runner.ended.then((outcome) => this.#ended(outcome));
  }

  start(): void {
    this.runner.start();
    this.bus.connect();
  }

  get gone(): boolean {
    return this.state.is === "crashed";
  }

  /** The process dies here and now, as by SIGKILL. */
  crash(at: string): void {
    if (this.state.is !== "running") return;
    this.state = { is: "crashed", at };
    this.bus.vanish();
    this.world.operator.crashed(this, at);
  }

  #ended(outcome: ExitOutcome): void {
    if (this.state.is !== "running") return;
    this.state = { is: "ended", outcome };
    this.#cancelWatchdog?.();
    this.bus.vanish();
    this.world.operator.ended(this, outcome);
  }

  /** A port call that answers at once. */
  call<T>(port: string, dead: T, act: () => T): T {
    if (this.gone) return dead;
    const fate = this.#fate(port);
    if (fate === "before") return dead;
    const result = act();
    if (fate === "after") this.crash(`after ${port}`);
    return result;
  }

  /** A port call that answers later; a dead runner never hears of it. */
  callLater<T>(port: string, act: () => Promise<T>): Promise<T> {
    if (this.gone) return never();
    const fate = this.#fate(port);
    if (fate === "before") return never();
    const result = act();
    if (fate === "after") this.crash(`after ${port}`);
    return result;
  }

  #fate(port: string): "lives" | "before" | "after" {
    const { world } = this;
    world.portCalls++;
    this.#calls++;
    // What is called seldom has more chances each time, so that every port gets its crashes.
    let strikes = world.faults.fires("crash.port");
    for (let more = RARE_PORTS.has(port) ? 7 : 0; more > 0 && !strikes; more--) {
      strikes = world.faults.fires("crash.port");
    }
    if (!strikes) return "lives";
    if (world.faults.draw("crash.port") < 0.5) {
      this.crash(`before ${port}`);
      return "before";
    }
    return "after";
  }

  #ports(): RunnerPorts {
    const { world } = this;
    const disk = world.disk.open();
    return {
      clock: world.machine.clockOf(() => this.gone),
      random: () => world.random.next(),
      redact: (text) => text,
      afterReadyInput: (callback) => {
        if (!world.plan.batches) return queueMicrotask(callback);
        world.machine.later(0.2, () => {
          if (!this.gone) callback();
        });
      },
      log: this.#log(),
      bus: this.bus,
      http: this.bus.http,
      journal: {
        load: () => disk.load(),
        write: (write) => this.call("journal.write", undefined, () => disk.write(write)),
        find: (key) => this.call("journal.find", null, () => disk.find(key)),
        prune: () => false,
        close: () => {},
      },
      adapter: this.#adapter(),
      processes: {} as Processes,
      monitor: {} as MonitorPort,
      launch: (start) => start as ProviderLaunch,
      frame: (message, redelivery) => `${message.storeId}/${message.id}#${redelivery}`,
      stage: () => {},
      turn: () => {},
      ending: () => this.call("ending", undefined, () => {}),
      output: () => this.call("output", undefined, () => {}),
      cpuMs: () => Promise.resolve(null),
      watchdog: (ms) =>
        this.call("watchdog", undefined, () => {
          world.oracle.watchdogArmed(this, ms);
          this.#cancelWatchdog?.();
          this.#cancelWatchdog = world.machine.later(ms + 500, () => {
            if (this.state.is !== "running") return;
            world.oracle.watchdogFired(this, ms);
            this.crash("watchdog");
          });
        }),
    };
  }

  #adapter(): ProviderAdapter {
    const { world } = this;
    const Model = MODELS[world.plan.provider];
    return {
      provider: world.plan.provider,
      window: world.window,
      buildSpawnArgs: () => [],
      spawn: (launch, ports) =>
        this.callLater("adapter.spawn", () => {
          const { faults, random } = world;
          world.oracle.spawnAsked(this);
          const slow = faults.fires("spawn.slow") ? random.between(1_000, 10_000) : 0;
          const fails = faults.fires("spawn.fails");
          return new Promise<ProviderSession>((resolve, reject) =>
            world.machine.later(random.between(2, 100) + slow, () => {
              // The guard, or the end of the run, keeps a process from being left behind.
              if (this.state.is !== "running") return;
              if (fails) {
                world.oracle.spawnFailed();
                return reject(new Error("resource temporarily unavailable"));
              }
              const process = new Model(world, launch, (event) => {
                if (!this.gone) ports.emit(event);
              });
              resolve(this.#gate(process));
            })
          );
        }),
    };
  }

  #gate(process: ProcessModel): ProviderSession {
    return {
      pid: process.pid,
      exited: process.exited.then((status) => this.gone ? never() : status),
      deliver: (delivery, signal) =>
        this.callLater("session.deliver", () => process.deliver(delivery, signal)),
      probe: (ids, signal) => this.callLater("session.probe", () => process.probe(ids, signal)),
      interrupt: () => this.callLater("session.interrupt", () => process.interrupt()),
      shutdown: (options) => this.callLater("session.shutdown", () => process.shutdown(options)),
    };
  }

  #log(): Log {
    const { world } = this;
    const log: Log = {
      debug() {},
      info() {},
      warn: (message) => {
        if (message === "provider is in a crash loop") world.oracle.sometimes("crash loop found");
      },
      error: (message, fields) => {
        if (this.gone || !/internal error|unexpected failure/.test(message)) return;
        world.oracle.violated("I0", `${message}: ${String(fields?.error)}`);
      },
      child: () => log,
    };
    return log;
  }
}

function configOf(world: World, host: Host): CoreConfig {
  const { plan } = world;
  return {
    agentId: AGENT,
    runnerId: `sim-runner-${host.number}`,
    instanceId: host.instanceId,
    provider: plan.provider,
    label: null,
    tags: [],
    capabilities: ["work"],
    headless: plan.headless,
    goal: SERVE,
    conversation: "last",
    window: world.window,
    remoteLifecycle: true,
    drainTimeoutMs: plan.drainTimeoutMs,
    stopGraceMs: 10_000,
    settleMs: 5_000,
    probeAfterMs: 60_000,
    startTimeoutMs: 60_000,
    stallTimeoutMs: 900_000,
    maxFailures: 5,
    maxQueue: plan.maxQueue,
    maxBodyBytes: plan.maxBodyBytes,
  };
}
