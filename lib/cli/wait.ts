import type { RelayHttpClient } from "agent-relay-sdk";
import { type Clock, delay } from "../base/clock.ts";
import { RunnerError, shown } from "../base/errors.ts";
import type { AgentCard, Message, Receipt, Stage, StageReport } from "../protocol/message.ts";
import { STAGES } from "../protocol/message.ts";
import { relayError } from "./relay_access.ts";

const POLL_MS = 25_000;
const RETRY_MS = 500;

/** A recipient that has not got as far as is wanted. */
export interface Missing {
  agentId: string;
  /** How far it got. */
  reached: Stage | null;
  /** What holds it up, when it said so. */
  why: string | null;
}

/** Where a message stands at all its recipients together. */
export type Progress =
  | { state: "reached" }
  | { state: "waiting"; missing: Missing[] }
  /** It will not get there. */
  | { state: "failed"; agentId: string; reason: string };

const FINAL = new Set(["dead", "expired", "failed", "dropped"]);

function rank(stage: string): number {
  return (STAGES as readonly string[]).indexOf(stage);
}

/**
 * How far a stage says that a message got. `acked` is no step beyond `done`: mail is acked once the model has seen it,
 * while its turn goes on and may fail; only claimable work is acked at its end.
 */
function reach(stage: string, wanted: Stage, claimable: boolean): number {
  return rank(stage === "acked" && wanted !== "acked" ? (claimable ? "done" : "seen") : stage);
}

/** The lines since a person last opened the dead letter again; an older life says nothing about this one. */
function currentLife(reports: StageReport[]): StageReport[] {
  const reopened = reports.findLastIndex((each) => each.stage === "reopened");
  if (reopened < 0) return reports;
  const { generation = 0 } = reports[reopened]!;
  return reports.slice(reopened + 1).filter((each) => (each.generation ?? 0) >= generation);
}

/**
 * Says whether a message has reached a stage: at every recipient, or for claimable work at the one that did it. A
 * dead letter, an expiry, a drop and a turn that failed after the model had the message are final.
 */
export function progressOf(receipt: Receipt, wanted: Stage): Progress {
  const { claimable } = receipt.message;
  const states = receipt.recipients.map(({ agentId, reports }) => {
    const best = Math.max(-1, ...reports.map((each) => reach(each.stage, wanted, claimable)));
    const life = currentLife(reports);
    const last = life.at(-1);
    const held = last?.stage === "held" || last?.stage === "retry" ? reasonOf(last) : null;
    return { agentId, best, end: life.findLast((each) => FINAL.has(each.stage)), held };
  });
  const need = rank(wanted);
  if (states.length > 0) {
    const reached = claimable
      ? states.some(({ best }) => best >= need)
      : states.every(({ best }) => best >= need);
    if (reached) return { state: "reached" };
  }
  const missing = states.filter(({ best }) => best < need);
  const ended = missing.filter(({ end }) => end !== undefined);
  if (ended.length > 0 && (!claimable || ended.length === missing.length)) {
    return { state: "failed", agentId: ended[0]!.agentId, reason: reasonOf(ended[0]!.end!) };
  }
  return {
    state: "waiting",
    missing: missing.map(({ agentId, best, held }) => ({
      agentId,
      reached: best < 0 ? null : STAGES[best]!,
      why: held,
    })),
  };
}

function reasonOf(report: StageReport): string {
  return report.evidence === undefined ? report.stage : `${report.stage}: ${shown(report.evidence, 400)}`;
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
    const [reply = null] = receipt.replies;
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

/** Says what keeps an agent from doing what is asked of it; null when nothing does. */
export function stateOf(card: AgentCard | undefined): string | null {
  if (card === undefined) return "is not on the bus";
  const reason = typeof card.meta?.reason === "string" ? `: ${card.meta.reason}` : "";
  if (card.status === "offline" || card.status === "stale") return `is ${card.status}${reason}`;
  if (!card.ready) return `is not ready${reason}`;
  const busy = Array.isArray(card.meta?.busyReasons) ? card.meta.busyReasons.join(", ") : "";
  return card.status === "busy" ? `is busy${busy === "" ? "" : ` with ${busy}`}` : null;
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
