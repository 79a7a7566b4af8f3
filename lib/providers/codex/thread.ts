import type { Activity, ProbeResult, ProviderEvent } from "../contract.ts";
import { AnswerCount } from "./answers.ts";
import { classify, type CodexTurnError } from "./failure.ts";
import { wholeReason } from "../reason.ts";

/** An item of a turn, as far as it is read here. */
export interface ThreadItem {
  type?: string;
  id?: string;
  clientId?: string | null;
  text?: string;
  /** Of a command: `userShell` when the person ran it themselves. */
  source?: string;
}

/** A turn, as notifications and `thread/turns/list` show it. */
export interface Turn {
  id?: string;
  status?: string;
  error?: CodexTurnError | null;
  items?: ThreadItem[];
}

/** A hook of the person's that ran in a turn. */
interface HookRun {
  eventName?: string;
  status?: string;
  entries?: { text?: string }[];
}

/** What a hook said that refused the turn's prompt; null for any other. */
function refusalOf({ eventName, status, entries }: HookRun): string | null {
  if (eventName !== "userPromptSubmit" || (status !== "blocked" && status !== "stopped")) return null;
  return entries?.map(({ text }) => text ?? "").join(" ").trim() || "without a word";
}

/** What is told of a message that a hook of the person's refused. */
export function refusalReason(refusal: string): string {
  return wholeReason(`a hook refused it: ${refusal}`);
}

/** Items that the model itself produced: each proves that it saw the turn's input. */
function isModelOutput({ type, source }: ThreadItem): boolean {
  return type !== undefined && type !== "userMessage" && type !== "hookPrompt" && source !== "userShell";
}

/** A turn under way, as far as it matters here. */
interface LiveTurn {
  deliveries: string[];
  seen: boolean;
  text: string;
  /** Items whose text was passed on. */
  printed: Set<string>;
  answers: AnswerCount;
  /** What a hook said that refused its prompt. */
  refusal: string | null;
}

/** Ended turns remembered, so that a look back does not tell of them again. */
const ENDED_LIMIT = 200;

/**
 * Follows one thread of the app-server (Codex 0.169.0) and turns notifications into events. Pure.
 *
 * What proves what (measured): the userMessage item with our clientId comes 49 ms before the model API is asked, so it
 * is `placed` only; the first item of the model in that turn is `seen`; `turn/completed` says how it ended.
 */
export class CodexThread {
  readonly id: string;
  readonly #emit: (event: ProviderEvent) => void;
  readonly #shared: boolean;
  readonly #turns = new Map<string, LiveTurn>();
  readonly #ended = new Set<string>();
  readonly #open = new Set<string>();
  /** Open deliveries that a refused prompt may have been, with what the hook said. */
  readonly #refused = new Map<string, string>();
  #activity: Activity = "idle";
  #turnId: string | null = null;
  #paused = false;

  /** `shared`: a person has prompts of their own in it. */
  constructor(emit: (event: ProviderEvent) => void, id: string, shared = false) {
    this.id = id;
    this.#emit = emit;
    this.#shared = shared;
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

  /** Deliveries that were handed to this thread and have not ended. */
  get open(): ReadonlySet<string> {
    return this.#open;
  }

  /** True when the running turn holds a delivery of ours. */
  get holdsDelivery(): boolean {
    const turn = this.#turnId === null ? undefined : this.#turns.get(this.#turnId);
    return turn?.deliveries.some((id) => this.#open.has(id)) === true;
  }

  /** Whether its last turn was interrupted is not told of a stored thread: then its queue stands still. */
  assumePaused(): void {
    this.#paused = true;
  }

  /** A delivery is about to be handed to this thread. */
  expect(deliveryId: string): void {
    this.#open.add(deliveryId);
    this.#refused.delete(deliveryId);
  }

  /** The delivery is not in this thread after all. */
  forget(deliveryId: string): void {
    this.#open.delete(deliveryId);
    this.#refused.delete(deliveryId);
  }

  /** What a hook said that refused a prompt while this delivery was open. It was this one if it is nowhere now. */
  refusalOf(deliveryId: string): string | null {
    return this.#refused.get(deliveryId) ?? null;
  }

  /** Takes a notification of this thread. */
  take(method: string, params: Record<string, unknown>): void {
    switch (method) {
      case "thread/status/changed":
        return this.status(params.status);
      case "turn/started":
        this.#turnId = (params.turn as Turn).id ?? null;
        this.#paused = false;
        return;
      case "thread/tokenUsage/updated":
        if (!this.#ended.has(String(params.turnId))) this.#turn(String(params.turnId)).answers.usage();
        return;
      case "item/started":
      case "item/completed":
        return this.#item(String(params.turnId), params.item as ThreadItem, method === "item/completed");
      case "hook/completed": {
        const refusal = refusalOf(params.run as HookRun);
        if (refusal !== null && params.turnId) this.#turn(String(params.turnId)).refusal = refusal;
        return;
      }
      case "turn/completed":
        return this.#completed(params.turn as Turn);
    }
  }

  /** Takes a status; it is an object since 0.169, was a text before. */
  status(status: unknown): void {
    const type = typeof status === "string" ? status : (status as { type?: string } | null)?.type;
    const flags = (status as { activeFlags?: string[] } | null)?.activeFlags ?? [];
    this.#activity = type !== "active" ? "idle" : flags.length > 0 ? "approval" : "busy";
  }

  /**
   * Takes the thread's turns (newest first) after a time in which notifications were missed. Only turns that are still
   * of interest are told of: running ones, those that were under way, and those that hold an open delivery.
   */
  catchUp(turns: readonly Turn[]): void {
    this.#turnId = null;
    for (const turn of [...turns].reverse()) {
      const turnId = String(turn.id);
      const running = turn.status === "inProgress";
      const ours = turn.items?.some((item) =>
        typeof item.clientId === "string" && this.#open.has(item.clientId)
      );
      if (this.#ended.has(turnId) || !(running || this.#turns.has(turnId) || ours)) continue;
      this.#paused = false;
      for (const item of turn.items ?? []) this.#item(turnId, item, true);
      if (running) this.#turnId = turnId;
      else this.#completed(turn);
    }
  }

  #item(turnId: string, item: ThreadItem, completed: boolean): void {
    const turn = this.#turn(turnId);
    if (item.type === "userMessage") {
      if (typeof item.clientId !== "string" || turn.deliveries.includes(item.clientId)) return;
      turn.deliveries.push(item.clientId);
      this.#refused.delete(item.clientId);
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
    if (isModelOutput(item)) turn.answers.item(item.type!, item.id ?? "");
    if (completed && item.type === "agentMessage" && item.text && !turn.printed.has(String(item.id))) {
      turn.printed.add(String(item.id));
      turn.text = item.text;
      this.#emit({ type: "output", text: item.text + "\n" });
    }
  }

  /**
   * A prompt that a hook refuses takes its turn and becomes no item, so that nothing says whose it was (measured). Where a
   * person has prompts as well, the record must tell first that the delivery does not wait behind theirs.
   */
  #noteRefusal(refusal: string): void {
    const placed = new Set([...this.#turns.values()].flatMap(({ deliveries }) => deliveries));
    const waiting = [...this.#open].filter((id) => !placed.has(id));
    if (this.#shared || waiting.length !== 1) {
      for (const id of waiting) this.#refused.set(id, refusal);
      return;
    }
    this.forget(waiting[0]!);
    this.#emit({ type: "failed", deliveryIds: waiting, failure: "message", reason: refusalReason(refusal) });
  }

  #turn(turnId: string): LiveTurn {
    let turn = this.#turns.get(turnId);
    if (turn === undefined) {
      const answers = new AnswerCount(() => this.#emit({ type: "turn" }));
      turn = { deliveries: [], seen: false, text: "", printed: new Set(), answers, refusal: null };
      this.#turns.set(turnId, turn);
    }
    return turn;
  }

  #completed(ended: Turn): void {
    const turnId = String(ended.id);
    const turn = this.#turn(turnId);
    this.#turns.delete(turnId);
    this.#ended.add(turnId);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= ENDED_LIMIT) break;
      this.#ended.delete(oldest);
    }
    if (this.#turnId === turnId) this.#turnId = null;
    if (ended.status === "interrupted") this.#paused = true;
    const { deliveries } = turn;
    if (deliveries.length === 0) {
      if (turn.refusal !== null) this.#noteRefusal(turn.refusal);
      return;
    }
    for (const id of deliveries) this.#open.delete(id);
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
      reason: wholeReason(ended.error?.message ?? `turn ${ended.status ?? "failed"}`),
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
      reason: wholeReason(turn.error?.message ?? `turn ${turn.status ?? "failed"}`),
    };
  }
  return null;
}
