import type { RelayHttpClient } from "agent-relay-sdk";
import { type Clock, delay } from "../base/clock.ts";
import { RunnerError, shown } from "../base/errors.ts";
import type { Message, Receipt, Stage, StageReport } from "../protocol/message.ts";
import { STAGES } from "../protocol/message.ts";
import { relayError } from "./relay_access.ts";

const POLL_MS = 25_000;
const RETRY_MS = 500;

/** Where a message stands at all its recipients together. */
export type Progress =
  | { state: "reached" }
  /** `why`: what holds it up, when something does. */
  | { state: "waiting"; reached: Stage | null; why: string | null }
  /** It will not get there. */
  | { state: "failed"; agentId: string; reason: string };

function rank(stage: string): number {
  return (STAGES as readonly string[]).indexOf(stage);
}

/**
 * Says whether a message has reached a stage: at every recipient, or for claimable work at the one that did it. A
 * dead letter, an expiry and a turn that failed after the model had the message are final.
 */
export function progressOf(receipt: Receipt, wanted: Stage): Progress {
  const best = receipt.recipients.map(({ reports }) =>
    Math.max(-1, ...reports.map((each) => rank(each.stage)))
  );
  const need = rank(wanted);
  if (receipt.recipients.length > 0) {
    const reached = receipt.message.claimable
      ? best.some((each) => each >= need)
      : best.every((each) => each >= need);
    if (reached) return { state: "reached" };
  }
  const failures = receipt.recipients.flatMap(({ agentId, reports }) => {
    const last = reports.findLast((each) => ["dead", "expired", "failed"].includes(each.stage));
    const retried = last !== undefined && reports.indexOf(last) < reports.length - 1 &&
      reports.slice(reports.indexOf(last)).some((each) =>
        each.stage === "received" || each.stage === "handed"
      );
    return last === undefined || retried ? [] : [{ agentId, reason: reasonOf(last) }];
  });
  const allFailed = receipt.message.claimable
    ? failures.length === receipt.recipients.length && failures.length > 0
    : failures.length > 0;
  if (allFailed) return { state: "failed", ...failures[0]! };
  const furthest = Math.max(-1, ...best);
  const held = receipt.recipients.flatMap(({ agentId, reports }) => {
    const last = reports.at(-1);
    return last?.stage === "held" || last?.stage === "retry" ? [`${agentId} is in ${reasonOf(last)}`] : [];
  });
  return { state: "waiting", reached: furthest < 0 ? null : STAGES[furthest]!, why: held[0] ?? null };
}

function reasonOf(report: StageReport): string {
  return report.evidence === undefined ? report.stage : `${report.stage}: ${report.evidence}`;
}

/** What a wait is for. Both may be asked for. */
export interface WaitFor {
  until: Stage | null;
  reply: boolean;
  timeoutMs: number;
}

/**
 * Waits until the receipt shows what is wanted. `onChange` hears every new version. Throws `E_NOT_DELIVERED` or
 * `E_NO_REPLY` when the time is up or it cannot come any more.
 */
export async function waitForReceipt(
  options: {
    http: RelayHttpClient;
    url: string;
    messageId: number;
    wait: WaitFor;
    clock: Clock;
    onChange(receipt: Receipt): void;
  },
): Promise<{ receipt: Receipt; reply: Message | null }> {
  const { http, url, messageId, wait, clock, onChange } = options;
  const deadline = clock.mono() + wait.timeoutMs;
  let after = 0;
  let last: Extract<Progress, { state: "waiting" }> = { state: "waiting", reached: null, why: null };
  for (;;) {
    const left = deadline - clock.mono();
    if (left <= 0) throw timedOut(wait, last);
    const result = await http.receipt(messageId, { after, waitMs: Math.min(POLL_MS, Math.ceil(left)) });
    if (!result.ok) {
      if (result.kind === "auth" || result.kind === "rejected") throw relayError(result, url);
      // The relay may be changing hands; what was sent is stored and the wait goes on.
      await delay(clock, Math.min(RETRY_MS, Math.max(1, deadline - clock.mono())));
      continue;
    }
    const receipt = result.value;
    if (receipt.version > after) onChange(receipt);
    after = receipt.version;
    const [reply = null] = receipt.replies;
    const stage = wait.until ?? "done";
    const progress = progressOf(receipt, stage);
    if (wait.reply && reply !== null) return { receipt, reply };
    if (progress.state === "failed") {
      throw new RunnerError(
        wait.reply ? "E_NO_REPLY" : "E_NOT_DELIVERED",
        `${progress.agentId}: ${progress.reason}`,
        {
          hint: `see "runner receipt ${messageId}"`,
        },
      );
    }
    if (!wait.reply && progress.state === "reached") return { receipt, reply };
    if (progress.state === "waiting") last = progress;
  }
}

function timedOut(wait: WaitFor, { reached, why }: Extract<Progress, { state: "waiting" }>): RunnerError {
  const far = reached === null ? "nobody took it" : `it got as far as "${reached}"`;
  const got = why === null ? far : `${far}, ${shown(why, 160)}`;
  return wait.reply
    ? new RunnerError("E_NO_REPLY", `no answer in time; ${got}`, {
      hint: "it stays in the thread when it comes",
    })
    : new RunnerError("E_NOT_DELIVERED", `not ${wait.until} in time; ${got}`, {
      hint: "the relay keeps it; see the receipt",
    });
}
