import { shown } from "../base/errors.ts";
import {
  type AgentCard,
  type Message,
  type Receipt,
  type Stage,
  type StageReport,
  STAGES,
} from "../protocol/message.ts";

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

/** Kind of a message in a thread that says how its work goes, and is not the answer. */
export const PROGRESS_KIND = "progress";

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

/** The first answer that a message got; a report of progress is none. */
export function answerIn({ replies }: Receipt): Message | null {
  return replies.find(({ kind }) => kind !== PROGRESS_KIND) ?? null;
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
