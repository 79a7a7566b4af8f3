import type { Activity, ProviderEvent } from "../contract.ts";
import { classify } from "./failure.ts";
import { wholeReason } from "../reason.ts";

/** One line of `--output-format stream-json`, as far as it is read here. Keys come in any order. */
export interface StreamRecord {
  type?: string;
  subtype?: string;
  session_id?: string;
  uuid?: string;
  isReplay?: boolean;
  state?: string;
  command_uuid?: string;
  user_message_uuid?: string;
  user_message_uuids?: string[];
  is_error?: boolean;
  result?: string;
  errors?: unknown[];
  terminal_reason?: string;
  api_error_status?: number;
  total_cost_usd?: number;
  error?: unknown;
  parent_tool_use_id?: string | null;
  message?: { id?: string; model?: string; content?: string | { type?: string; text?: string }[] };
}

/**
 * Follows the deliveries of one headless Claude Code through its output and turns lines into events. Pure: the
 * caller owns time and the process.
 *
 * What proves what (measured, 2.1.330): `command_lifecycle` and the replay prove `placed` only, they come before the
 * model API is asked and also when it answers 401. A real assistant record proves `seen`. The result's `is_error`
 * decides, never its `subtype`, which says "success" for an API error.
 */
export class ClaudeStream {
  readonly #emit: (event: ProviderEvent) => void;
  /** Deliveries handed over and not ended, in order. */
  readonly #open = new Map<string, "handed" | "placed" | "seen">();
  /** Those of them that are a command of Claude's own, which it may carry out without the model. */
  readonly #commands = new Set<string>();
  #activity: Activity = "idle";
  #session: string | null;
  #cost = 0;
  /** The answer of the model that records belong to now; each of its blocks has a record of its own. */
  #answer: string | null = null;

  constructor(emit: (event: ProviderEvent) => void, sessionId: string | null) {
    this.#emit = emit;
    this.#session = sessionId;
  }

  get activity(): Activity {
    return this.#activity;
  }

  /** A delivery's line is about to be written. */
  handed(deliveryId: string, text: string): void {
    this.#open.set(deliveryId, "handed");
    // A message has a frame around it; only a prompt of the person's own can begin like this.
    if (text.startsWith("/")) this.#commands.add(deliveryId);
  }

  /** The line could not be written. */
  notHanded(deliveryId: string): void {
    if (this.#open.get(deliveryId) === "handed") this.#open.delete(deliveryId);
  }

  /** True while a delivery is with the provider and its turn has not ended. */
  has(deliveryId: string): boolean {
    return this.#open.has(deliveryId);
  }

  /** Takes one record. Unknown ones are ignored: newer versions add some. */
  take(record: StreamRecord): void {
    switch (record.type) {
      case "system":
        if (record.subtype === "init") this.#conversation(record.session_id);
        else if (record.subtype === "session_state_changed") this.#state(record.state);
        return;
      case "command_lifecycle":
        return this.#lifecycle(record);
      case "user":
        if (record.uuid !== undefined) this.#placed(record.uuid, "replay of the user message with our uuid");
        return;
      case "assistant":
        return this.#assistant(record);
      case "result":
        return this.#result(record);
    }
  }

  #conversation(sessionId: string | undefined): void {
    if (sessionId === undefined || sessionId === this.#session) return;
    this.#session = sessionId;
    this.#emit({ type: "conversation", resume: sessionId });
  }

  #state(state: string | undefined): void {
    const activity: Activity | null = state === "running"
      ? "busy"
      : state === "requires_action"
      ? "approval"
      : state === "idle"
      ? "idle"
      : null;
    if (activity === null || activity === this.#activity) return;
    this.#activity = activity;
    this.#emit({ type: "activity", activity });
  }

  #lifecycle({ command_uuid: id, state }: StreamRecord): void {
    if (id === undefined) return;
    if (state === "queued" || state === "started") return this.#placed(id, `command_lifecycle ${state}`);
    // "completed" also comes for a uuid that the conversation holds already: it says nothing about a turn. A turn
    // that was cut ends with a result, which tells more; what was withdrawn before it began has none.
    if (state === "discarded" || state === "refused") {
      this.#failed([id], "cancelled", `claude ${state} the message`);
    }
  }

  #placed(id: string, evidence: string): void {
    if (this.#open.get(id) !== "handed") return;
    this.#open.set(id, "placed");
    this.#emit({ type: "evidence", deliveryId: id, stage: "placed", evidence });
  }

  #assistant(record: StreamRecord): void {
    // An API error is shown as an assistant record of a synthetic model; the model itself said nothing.
    if (record.error !== undefined || record.message?.model === "<synthetic>") return;
    for (const id of this.#named(record)) {
      if (this.#open.get(id) === "seen") continue;
      this.#placed(id, "assistant record names our uuid");
      this.#open.set(id, "seen");
      this.#emit({
        type: "evidence",
        deliveryId: id,
        stage: "seen",
        evidence: `assistant record ${record.uuid ?? ""} after ours`,
      });
    }
    // A helper agent's answers are part of the turn that asked for them.
    if (record.parent_tool_use_id) return;
    const answer = record.message?.id ?? record.uuid ?? null;
    if (answer !== this.#answer) this.#emit({ type: "turn" });
    this.#answer = answer;
    const content = record.message?.content;
    const text = typeof content === "string"
      ? content
      : (content ?? []).map((block) => block.type === "text" ? block.text ?? "" : "").join("");
    if (text !== "") this.#emit({ type: "output", text: text + "\n" });
  }

  /** Deliveries a record speaks of; a version that does not name them speaks of those that are placed. */
  #named(record: StreamRecord): string[] {
    const named = record.user_message_uuids ??
      (record.user_message_uuid === undefined ? null : [record.user_message_uuid]);
    const open = [...this.#open.keys()];
    return named === null
      ? open.filter((id) => this.#open.get(id) !== "handed")
      : open.filter((id) => named.includes(id));
  }

  #result(record: StreamRecord): void {
    const ids = this.#named(record);
    const text = record.result ?? "";
    const cost = record.total_cost_usd === undefined ? {} : { costUsd: record.total_cost_usd - this.#cost };
    this.#cost = record.total_cost_usd ?? this.#cost;
    if (record.is_error !== true) {
      // A prompt that a hook of the person's refused ends "without error" as well, and no model was asked.
      const unseen = ids.filter((id) => this.#open.has(id) && this.#open.get(id) !== "seen");
      const refused = unseen.filter((id) => !this.#commands.has(id));
      this.#failed(refused, "message", wholeReason(text || "the turn ended and the model said nothing"));
      const done = ids.filter((id) => this.#open.delete(id));
      if (done.length === 0) return;
      if (unseen.length > refused.length && text !== "") this.#emit({ type: "output", text: text + "\n" });
      this.#emit({
        type: "done",
        deliveryIds: done,
        text,
        evidence: `result ${record.uuid ?? ""} without error`,
        ...cost,
      });
      return;
    }
    const reason = text || (record.errors ?? []).map(String).join("; ") || record.subtype ||
      "the turn failed";
    const failure = classify({
      subtype: record.subtype,
      status: record.api_error_status,
      terminalReason: record.terminal_reason,
      text: reason,
    });
    this.#failed(ids, failure, wholeReason(reason), cost);
  }

  #failed(
    ids: string[],
    failure: ReturnType<typeof classify>,
    reason: string,
    cost: { costUsd?: number } = {},
  ): void {
    const open = ids.filter((id) => this.#open.has(id));
    for (const id of open) this.#open.delete(id);
    if (open.length > 0) this.#emit({ type: "failed", deliveryIds: open, failure, reason, ...cost });
  }
}
