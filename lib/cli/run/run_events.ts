import type { Redactor } from "../../base/redact.ts";
import type { StageReport } from "../../protocol/message.ts";
import type { TurnResult } from "../../runner/core/types.ts";
import type { RunStart } from "./follower.ts";

/** What happens in a run, as programs get it: one JSON object a line (`--output jsonl`, and who watches the run). */
export type RunEvent = Readonly<{ type: string } & Record<string, unknown>>;

/** The run is under way. */
export function startEvent({ agentId, runnerId, relayUrl }: RunStart, provider: string): RunEvent {
  return { type: "start", agentId, runnerId, provider, relayUrl };
}

/** A message got on; `messageId` is null for the run's own prompt, which no relay knows. */
export function stageEvent({ agentId: _, messageId, ...rest }: StageReport, local: boolean): RunEvent {
  return { type: "stage", messageId: local ? null : messageId, ...rest };
}

/** A turn ended. */
export function turnEvent({ messageIds, ...turn }: TurnResult): RunEvent {
  return { type: "turn", messageIds, ...turn };
}

/** Returns an event as JSON. Redacted before that: a mask over the finished line could take a quote with it. */
export function encodeEvent(event: RunEvent, redactor: Redactor): string {
  return JSON.stringify(event, (_, part) => typeof part === "string" ? redactor.redact(part) : part);
}
