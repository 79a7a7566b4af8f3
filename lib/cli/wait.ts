import type { RelayHttpClient } from "agent-relay-sdk";
import { type Clock, delay } from "../base/clock.ts";
import { RunnerError, shown } from "../base/errors.ts";
import type { Message, Receipt, Stage } from "../protocol/message.ts";
import { answerIn, type Missing, progressOf, stateOf } from "../sdk/progress.ts";
import { relayError } from "./relay_access.ts";

const POLL_MS = 25_000;
const RETRY_MS = 500;

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
  let missing: Missing[] = [];
  for (;;) {
    const left = deadline - clock.mono();
    if (left <= 0) throw timedOut(wait, messageId, await explain(http, missing));
    const result = await http.receipt(messageId, { after, waitMs: Math.min(POLL_MS, Math.ceil(left)) });
    if (!result.ok) {
      if (result.kind === "auth" || result.kind === "rejected") throw relayError(result, url);
      // The relay may be changing hands; what was sent is stored and the wait goes on.
      const pauseMs = Math.max(RETRY_MS, result.kind === "unavailable" ? result.retryAfterMs ?? 0 : 0);
      await delay(clock, Math.min(pauseMs, Math.max(1, deadline - clock.mono())));
      continue;
    }
    const receipt = result.value;
    if (receipt.version > after) onChange(receipt);
    after = receipt.version;
    const reply = answerIn(receipt);
    const stage = wait.until ?? "done";
    const progress = progressOf(receipt, stage);
    if (wait.reply && reply !== null) return { receipt, reply };
    if (progress.state === "failed") {
      throw new RunnerError(
        wait.reply ? "E_NO_REPLY" : "E_NOT_DELIVERED",
        `${progress.agentId}: ${progress.reason}`,
        {
          details: { messageId },
          hint: /^dead\b/.test(progress.reason)
            ? `see "runner dead show ${messageId}"; "runner dead retry ${messageId}" sends it again`
            : `see "runner receipt ${messageId}"`,
        },
      );
    }
    if (!wait.reply && progress.state === "reached") return { receipt, reply };
    if (progress.state === "waiting") missing = progress.missing;
  }
}

/** One clause per recipient that is missing: how far it got, and what it says or the relay knows of it. */
async function explain(http: RelayHttpClient, missing: Missing[]): Promise<string> {
  if (missing.length === 0) return "nobody is there for it yet";
  const listed = await http.listAgents();
  const clauses = missing.slice(0, 3).map(({ agentId, reached, why }) => {
    const card = listed.ok ? listed.value.find((each) => each.id === agentId) : undefined;
    const far = reached === null ? "has not taken it" : `got as far as "${reached}"`;
    const reasons = [why === null ? null : `is in ${why}`, listed.ok ? stateOf(card) : null];
    return [`${agentId} ${far}`, ...reasons.filter((each) => each !== null)].join(", ");
  });
  const more = missing.length - clauses.length;
  return clauses.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

function timedOut(wait: WaitFor, messageId: number, why: string): RunnerError {
  const details = { messageId };
  const see = `see "runner receipt ${messageId}"`;
  return wait.reply
    ? new RunnerError("E_NO_REPLY", `no answer in time; ${shown(why, 400)}`, {
      details,
      hint: `when it comes, the receipt has it: ${see}`,
    })
    : new RunnerError("E_NOT_DELIVERED", `not ${wait.until} in time; ${shown(why, 400)}`, {
      details,
      hint: `the relay keeps the message; ${see}`,
    });
}
