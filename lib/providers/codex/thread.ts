import type { Activity, ProbeResult, ProviderEvent } from "../contract.ts";
import { classify, type CodexTurnError } from "./failure.ts";

/** An item of a turn, as far as it is read here. */
export interface ThreadItem {
  type?: string;
  id?: string;
  clientId?: string | null;
  text?: string;
}

/** A turn, as notifications and `thread/turns/list` show it. */
export interface Turn {
  id?: string;
  status?: string;
  error?: CodexTurnError | null;
  items?: ThreadItem[];
}

/** How far the model is with the answers of one turn. */
interface Answers {
  /** The answer under way was counted when the one before it called a tool. */
  counted: boolean;
  /** The newest answer is complete. */
  answered: boolean;
  /** The newest answer called a tool. */
  called: boolean;
  /** Ids of the calls so far: each is told of twice, at its start and its end. */
  calls: Set<string>;
}

/** Items with which an answer ends or goes on by itself; all others are calls of tools. */
const SPOKEN = new Set(["agentMessage", "reasoning", "plan", "contextCompaction"]);

function newTurn() {
  return {
    deliveries: [] as string[],
    seen: false,
    text: "",
    counted: false,
    answered: false,
    called: false,
    calls: new Set<string>(),
  };
}

/** Items that the model itself produced: each proves that it saw the turn's input. */
function isModelOutput(item: ThreadItem): boolean {
  return item.type !== undefined && item.type !== "userMessage" && item.type !== "hookPrompt";
}

/**
 * Follows one thread of the app-server (Codex 0.169.0) and turns notifications into events. Pure.
 *
 * What proves what (measured): the userMessage item with our clientId comes 49 ms before the model API is asked, so it
 * is `placed` only; the first item of the model in that turn is `seen`; `turn/completed` says how it ended.
 */
export class CodexThread {
  readonly #emit: (event: ProviderEvent) => void;
  readonly #turns = new Map<string, { deliveries: string[]; seen: boolean; text: string } & Answers>();
  #activity: Activity = "idle";
  #threadId: string;
  #turnId: string | null = null;
  #paused = false;

  constructor(emit: (event: ProviderEvent) => void, threadId: string, options: { paused?: boolean } = {}) {
    this.#emit = emit;
    this.#threadId = threadId;
    this.#paused = options.paused === true;
  }

  get activity(): Activity {
    return this.#activity;
  }

  /** True after an interrupted turn: the server's queue stands still until it is started (measured). */
  get paused(): boolean {
    return this.#paused;
  }

  /** The running turn, for `turn/interrupt`. */
  get turnId(): string | null {
    return this.#turnId;
  }

  /** Takes a notification; those of other threads are ignored. */
  take(method: string, params: Record<string, unknown>): void {
    if (params.threadId !== this.#threadId) return;
    switch (method) {
      case "thread/status/changed":
        return this.status(params.status);
      case "turn/started":
        this.#turnId = (params.turn as Turn).id ?? null;
        this.#paused = false;
        return;
      case "thread/tokenUsage/updated":
        return this.#answered(String(params.turnId));
      case "item/started":
      case "item/completed":
        return this.#item(String(params.turnId), params.item as ThreadItem, method === "item/completed");
      case "turn/completed":
        return this.completed(params.turn as Turn);
    }
  }

  /** Takes a status; it is an object since 0.169, was a text before. */
  status(status: unknown): void {
    const type = typeof status === "string" ? status : (status as { type?: string } | null)?.type;
    const flags = (status as { activeFlags?: string[] } | null)?.activeFlags ?? [];
    const activity: Activity = type !== "active" ? "idle" : flags.length > 0 ? "approval" : "busy";
    if (activity === this.#activity) return;
    this.#activity = activity;
    this.#emit({ type: "activity", activity });
  }

  #item(turnId: string, item: ThreadItem, completed: boolean): void {
    const turn = this.#turn(turnId);
    if (item.type === "userMessage") {
      if (typeof item.clientId !== "string" || turn.deliveries.includes(item.clientId)) return;
      turn.deliveries.push(item.clientId);
      this.#emit({
        type: "evidence",
        deliveryId: item.clientId,
        stage: "placed",
        evidence: `item.clientId of userMessage ${item.id ?? ""}`,
      });
      // A message steered into a turn is seen by what the model says after it.
      turn.seen = false;
      return;
    }
    if (isModelOutput(item) && !turn.seen && turn.deliveries.length > 0) {
      turn.seen = true;
      for (const deliveryId of turn.deliveries) {
        this.#emit({
          type: "evidence",
          deliveryId,
          stage: "seen",
          evidence: `${item.type} item ${item.id ?? ""} in turn ${turnId}`,
        });
      }
    }
    if (isModelOutput(item) && !SPOKEN.has(item.type!) && !turn.calls.has(item.id ?? "")) {
      turn.calls.add(item.id ?? "");
      turn.called = true;
      this.#asksAgain(turn);
    }
    if (completed && item.type === "agentMessage" && item.text) {
      turn.text = item.text;
      this.#emit({ type: "output", text: item.text + "\n" });
    }
  }

  #turn(turnId: string) {
    let turn = this.#turns.get(turnId);
    if (turn === undefined) this.#turns.set(turnId, turn = newTurn());
    return turn;
  }

  /** Token usage comes once for every answer of the model (measured). */
  #answered(turnId: string): void {
    const turn = this.#turn(turnId);
    turn.answered = true;
    if (!turn.counted) this.#emit({ type: "turn" });
    turn.counted = false;
    this.#asksAgain(turn);
  }

  /**
   * An answer that called a tool is followed by another question to the model: counted now, so that a limit stops it
   * before it has cost anything. The call and the usage come in either order.
   */
  #asksAgain(turn: Answers): void {
    if (!turn.answered || !turn.called) return;
    this.#emit({ type: "turn" });
    Object.assign(turn, { answered: false, called: false, counted: true });
  }

  /** A turn ended. */
  completed(ended: Turn): void {
    const turnId = String(ended.id);
    const turn = this.#turn(turnId);
    this.#turns.delete(turnId);
    if (this.#turnId === turnId) this.#turnId = null;
    if (ended.status === "interrupted") this.#paused = true;
    const { deliveries } = turn;
    if (deliveries.length === 0) return;
    if (ended.status === "completed") {
      const last = ended.items?.findLast((item) => item.type === "agentMessage")?.text;
      this.#emit({
        type: "done",
        deliveryIds: deliveries,
        text: last ?? turn.text,
        evidence: `turn ${turnId} completed`,
      });
      return;
    }
    this.#emit({
      type: "failed",
      deliveryIds: deliveries,
      failure: ended.status === "interrupted" ? "cancelled" : classify(ended.error),
      reason: (ended.error?.message ?? `turn ${ended.status ?? "failed"}`).slice(0, 300),
    });
  }
}

/** Says from a thread's turns (newest first) what became of a delivery; null when no turn holds it. */
export function probeTurns(turns: readonly Turn[], deliveryId: string): ProbeResult | null {
  for (const turn of turns) {
    const items = turn.items ?? [];
    const at = items.findIndex((item) => item.type === "userMessage" && item.clientId === deliveryId);
    if (at < 0) continue;
    const output = items.slice(at + 1).find(isModelOutput);
    const evidence = `turn ${turn.id ?? ""} of the thread`;
    if (turn.status === "completed") {
      const text = items.findLast((item) => item.type === "agentMessage")?.text ?? "";
      return { state: "done", evidence, text };
    }
    if (turn.status === "inProgress") {
      return output === undefined
        ? { state: "placed", evidence }
        : { state: "placed", evidence: `running ${evidence}` };
    }
    if (output !== undefined) return { state: "seen", evidence };
    return {
      state: "failed",
      failure: turn.status === "interrupted" ? "cancelled" : classify(turn.error),
      reason: turn.error?.message?.slice(0, 300) ?? `turn ${turn.status ?? "failed"}`,
    };
  }
  return null;
}
