import { join } from "@std/path";
import { afterReadyInput, type Clock, systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import type { Journal } from "../../lib/inbox/contract.ts";
import { openJournal } from "../../lib/inbox/journal.ts";
import type { ExitStatus } from "../../lib/process/contract.ts";
import type { Processes } from "../../lib/process/contract.ts";
import type {
  Delivery,
  ProbeResult,
  ProviderAdapter,
  ProviderEvent,
  ProviderLaunch,
} from "../../lib/providers/contract.ts";
import type { ExitOutcome } from "../../lib/runner/core/types.ts";
import { SERVE } from "../../lib/runner/core/goal.ts";
import { Runner } from "../../lib/runner/runner.ts";
import { RelayBusClient, RelayHttpClient } from "../../lib/sdk/mod.ts";
import { TOKEN } from "./relay_world.ts";

/** What the agent does with a delivery: the events that follow the hand-over, in order. */
export type Script = (delivery: Delivery) => ProviderEvent[];

/** Answers every message well. */
export const obliging: Script = ({ deliveryId }) => [
  { type: "evidence", deliveryId, stage: "placed", evidence: "taken" },
  { type: "evidence", deliveryId, stage: "seen", evidence: "answering" },
  { type: "done", deliveryIds: [deliveryId], text: "done", evidence: "answered" },
];

/** Says that the message cannot be processed. */
export const refusing: Script = ({ deliveryId }) => [
  { type: "evidence", deliveryId, stage: "placed", evidence: "taken" },
  { type: "failed", deliveryIds: [deliveryId], failure: "message", reason: "context window exceeded" },
];

/**
 * A real runner in this process, with a real journal and a real relay at the far end of a real socket; only the agent
 * is a script. Kept across runs: what it was handed, as its own record.
 */
export class ScriptedAgent {
  /** Everything that was handed to the agent, over all runs. */
  readonly deliveries: Delivery[] = [];
  script: Script;
  journal!: Journal;
  runner!: Runner;
  bus!: RelayBusClient;
  #emit: (event: ProviderEvent) => void = () => {};
  #cut: () => void = () => {};

  constructor(
    readonly url: string,
    readonly dir: string,
    readonly options: {
      agentId: string;
      script?: Script;
      caps?: string[];
      maxQueue?: number;
      maxBodyBytes?: number;
      token?: string;
    },
  ) {
    this.script = options.script ?? obliging;
  }

  get #token(): string {
    return this.options.token ?? TOKEN;
  }

  /** Starts a run on the journal in `dir`. */
  start(): this {
    const { agentId } = this.options;
    const clock = cuttable();
    this.#cut = clock.cut;
    this.journal = openJournal({ path: join(this.dir, "journal.db"), clock: systemClock, log: noLog });
    const instanceId = crypto.randomUUID();
    this.bus = new RelayBusClient({
      url: this.url,
      token: this.#token,
      registration: {
        role: "provider",
        componentId: `run-${agentId}`,
        agentId,
        instanceId,
        capabilities: this.options.caps ?? [],
        tags: [],
        machine: "machine",
        meta: {},
      },
      events: {
        state: (state) => this.runner.onTransport(state),
        message: (message) => this.runner.onMessage(message),
        command: (command) => this.runner.onCommand(command),
        dropped: (letter) => this.runner.onDropped(letter),
      },
      clock: systemClock,
      random: Math.random,
      log: noLog,
    });
    const adapter: ProviderAdapter = {
      provider: "scripted",
      window: 1,
      buildSpawnArgs: () => [],
      spawn: (_launch, ports) => {
        const exited = Promise.withResolvers<ExitStatus>();
        this.#emit = ports.emit;
        queueMicrotask(() => ports.emit({ type: "ready", resume: null }));
        return Promise.resolve({
          pid: 0,
          exited: exited.promise,
          deliver: (delivery: Delivery) => {
            this.deliveries.push(delivery);
            setTimeout(() => {
              for (const event of this.script(delivery)) this.#emit(event);
            }, 0);
            return Promise.resolve();
          },
          probe: (ids: string[]) => {
            const absent: ProbeResult = { state: "absent" };
            return Promise.resolve(new Map(ids.map((id) => [id, absent])));
          },
          interrupt: () => Promise.resolve(),
          shutdown: () => {
            const status = { code: 0, signal: null };
            exited.resolve(status);
            return Promise.resolve(status);
          },
        });
      },
    };
    this.runner = new Runner({
      agentId,
      runnerId: `run-${agentId}`,
      instanceId,
      provider: "scripted",
      label: null,
      tags: [],
      capabilities: this.options.caps ?? [],
      headless: true,
      goal: SERVE,
      conversation: "last",
      window: 1,
      remoteLifecycle: true,
      drainTimeoutMs: 1_000,
      stopGraceMs: 100,
      settleMs: 10,
      probeAfterMs: 60_000,
      startTimeoutMs: 60_000,
      stallTimeoutMs: 900_000,
      maxFailures: 5,
      maxQueue: this.options.maxQueue ?? 1_000,
      maxBodyBytes: this.options.maxBodyBytes ?? 16 * 1024 * 1024,
    }, {
      clock,
      random: Math.random,
      redact: (text) => text,
      afterReadyInput,
      log: noLog,
      bus: this.bus,
      http: new RelayHttpClient({ url: this.url, token: () => this.bus.agentToken ?? this.#token }),
      journal: this.journal,
      adapter,
      processes: {} as Processes,
      launch: () => ({}) as ProviderLaunch,
      frame: (message) => message.body,
      output: () => {},
      monitor: { deliver: () => Promise.resolve(), watch: () => () => {} },
      stage: () => {},
      turn: () => {},
      ending: () => {},
      cpuMs: () => Promise.resolve(null),
      watchdog: () => {},
    });
    this.runner.start();
    this.bus.connect();
    return this;
  }

  /** Says something as the agent. */
  emit(event: ProviderEvent): void {
    this.#emit(event);
  }

  /** Ends the run in order. */
  async stop(): Promise<ExitOutcome> {
    this.runner.post({ type: "signal", signal: "SIGTERM" });
    this.runner.post({ type: "signal", signal: "SIGTERM" });
    const outcome = await this.runner.ended;
    this.journal.close();
    return outcome;
  }

  /** Cuts the run off as a crash does: what is on disk stays, what was in memory is gone. */
  async crash(): Promise<void> {
    this.#emit = () => {};
    await this.bus.close();
    this.#cut();
    this.journal.close();
  }
}

/** The system's clock, whose timers can all be ended at once: a crashed process has none. */
function cuttable(): Clock & { cut(): void } {
  const cancels = new Set<() => void>();
  let over = false;
  return {
    ...systemClock,
    setTimer(delayMs, callback) {
      if (over) return () => {};
      const cancel = systemClock.setTimer(delayMs, () => {
        cancels.delete(cancel);
        callback();
      });
      cancels.add(cancel);
      return cancel;
    },
    cut() {
      over = true;
      for (const cancel of cancels) cancel();
    },
  };
}
