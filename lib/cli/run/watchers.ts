import type { LogLine } from "../../base/logger.ts";
import type { Redactor } from "../../base/redact.ts";
import { WatchDoor } from "../../control/watch.ts";
import type { StageReport } from "../../protocol/message.ts";
import type { ExitOutcome, TurnResult } from "../../runner/core/types.ts";
import { endReason } from "../../runner/core/status.ts";
import type { RunFollower, RunStart } from "./follower.ts";
import { encodeEvent, type RunEvent, stageEvent, startEvent, turnEvent } from "./run_events.ts";

/** About what an event takes beside its texts. */
const EVENT_CHARS = 200;

/** Those who watch a run from another process (`runner attach`): they get what `--output jsonl` says, and the log. */
export class Watchers implements RunFollower {
  readonly door: WatchDoor;
  readonly #provider: string;

  constructor(provider: string, redactor: Redactor) {
    this.#provider = provider;
    this.door = new WatchDoor((event) => encodeEvent(event as RunEvent, redactor));
  }

  started(start: RunStart): void {
    this.#publish(startEvent(start, this.#provider));
  }

  output(text: string): void {
    this.#publish({ type: "output", text }, text.length);
  }

  stage(report: StageReport, local: boolean): void {
    this.#publish(stageEvent(report, local), report.evidence?.length);
  }

  turn(turn: TurnResult): void {
    this.#publish(turnEvent(turn), turn.outcome === "done" ? turn.text.length : turn.reason.length);
  }

  /** Takes a log line; a sink of the run's logger. */
  log({ level, message, fields }: LogLine): void {
    if (level === "debug") return;
    this.#publish({ type: "log", level, message, fields }, message.length);
  }

  ending(outcome: ExitOutcome): void {
    this.#publish({ type: "end", cause: outcome.cause.kind, reason: endReason(outcome) });
  }

  #publish(event: RunEvent, chars = 0): void {
    this.door.publish({ event, chars: EVENT_CHARS + chars });
  }
}

/** One follower for several, told in their order. */
export function together(...followers: readonly RunFollower[]): RunFollower {
  return {
    started: (start) => followers.forEach((each) => each.started(start)),
    output: (text) => followers.forEach((each) => each.output(text)),
    stage: (report, local) => followers.forEach((each) => each.stage(report, local)),
    turn: (turn) => followers.forEach((each) => each.turn(turn)),
    ending: (outcome, report) => followers.forEach((each) => each.ending(outcome, report)),
  };
}
