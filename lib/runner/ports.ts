import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Journal } from "../inbox/contract.ts";
import type { ExitStatus, Processes } from "../process/contract.ts";
import type { Message, StageReport } from "../protocol/message.ts";
import type { MonitorPort, ProviderAdapter, ProviderLaunch } from "../providers/contract.ts";
import type { RelayBus, RelayHttp } from "../sdk/contract.ts";
import type { RunReport } from "./core/goal.ts";
import type { ExitOutcome, TurnResult } from "./core/types.ts";

/** The world as a runner touches it. Everything is injected; tests and the simulation bring their own. */
export interface RunnerPorts {
  clock: Clock;
  /** In [0, 1). */
  random(): number;
  /** Calls back once the input that is ready now was taken in, so that a burst of it shares one commit. */
  afterReadyInput(callback: () => void): void;
  log: Log;
  bus: RelayBus;
  http: Pick<RelayHttp, "listUnread" | "listDead" | "getMessage" | "deleteAgent">;
  journal: Journal;
  adapter: ProviderAdapter;
  processes: Processes;
  /** The monitor inside the agent, for providers that need one. */
  monitor: MonitorPort;
  /** Returns how to start the next incarnation. */
  launch(start: Pick<ProviderLaunch, "incarnation" | "resume" | "opening" | "unwanted">): ProviderLaunch;
  /** Returns the framed text that the model gets (S-10). */
  frame(message: Message, redelivery: number): string;
  /** Returns a text without the secrets that are known. */
  redact(text: string): string;
  /** Output of the agent, for a person or a CI log. */
  output(text: string): void;
  /** A message got one stage further; `local` for the run's own prompt. */
  stage(report: StageReport, local: boolean): void;
  /** A turn ended. */
  turn(turn: TurnResult): void;
  /** The outcome is final. Called once, before the relay is told: a relay that hangs must not cost the result. */
  ending(outcome: ExitOutcome, report: RunReport): void;
  /** The provider's process ended; called before anything follows from it. */
  providerEnded?(status: ExitStatus): void;
  /** Processor time that a process, with all it started, has used so far; null when nobody can tell. Never rejects. */
  cpuMs(pid: number): Promise<number | null>;
  /** Arms the watchdog outside this process: everything is ended when it still lives after `ms`. */
  watchdog(ms: number): void;
}
