import type { StageReport } from "../../protocol/message.ts";
import type { RunReport } from "../../runner/core/goal.ts";
import type { ExitOutcome, TurnResult } from "../../runner/core/types.ts";

/** What is known when a run begins. */
export interface RunStart {
  agentId: string;
  runnerId: string;
  relayUrl: string | null;
  /** Secrets the run has made itself. */
  masked: string[];
}

/** Somebody who follows a run. No method may throw. */
export interface RunFollower {
  started(start: RunStart): void;
  /** The agent's text as it comes. */
  output(text: string): void;
  /** `local` for the run's own prompt, which no relay knows. */
  stage(report: StageReport, local: boolean): void;
  turn(turn: TurnResult): void;
  /** The end is decided; it is told to the relay after this returns. */
  ending(outcome: ExitOutcome, report: RunReport): void;
}
