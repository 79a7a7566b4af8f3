import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { isToolName, TOOLS } from "../../protocol/tools.ts";
import type { ToolPort } from "../contract.ts";

/** Calls remembered, so that one that is asked anew after a lost link is not carried out twice. */
const CALLS_LIMIT = 64;

interface Call {
  turnId: string;
  answer: Promise<unknown>;
  abort: AbortController;
}

/**
 * The relay's tools as Codex's dynamic tools (0.169.0): the app-server asks for them over its own link, so that no
 * process, no network of the sandbox and no approval stands between. A thread keeps the tools it began with.
 */
export class DynamicTools {
  readonly #tools: ToolPort | undefined;
  readonly #log: Log;
  readonly #calls = new Map<string, Call>();

  constructor(tools: ToolPort | undefined, log: Log) {
    this.#tools = tools;
    this.#log = log;
  }

  /** What `thread/start` is given. */
  get settings(): Record<string, unknown> {
    if (this.#tools === undefined) return {};
    return { dynamicTools: TOOLS.map((spec) => ({ type: "function", ...spec })) };
  }

  /** Answers `item/tool/call`; null for a tool that is not served here. The promise never rejects. */
  answer({ callId, turnId, tool, arguments: args }: Record<string, unknown>): Promise<unknown> | null {
    const tools = this.#tools;
    if (tools === undefined || typeof tool !== "string" || !isToolName(tool)) return null;
    const id = String(callId);
    const known = this.#calls.get(id);
    if (known !== undefined) return known.answer;
    const abort = new AbortController();
    const answer = tools.call(tool, args ?? {}, abort.signal).then(
      ({ text, isError }) => outcome(text, !isError),
      (error) => {
        this.#log.debug("a tool call was given up", { tool, error: messageOf(error) });
        return outcome(messageOf(error), false);
      },
    );
    this.#calls.set(id, { turnId: String(turnId), answer, abort });
    for (const oldest of this.#calls.keys()) {
      if (this.#calls.size <= CALLS_LIMIT) break;
      this.#calls.delete(oldest);
    }
    return answer;
  }

  /** A turn has ended: whatever it still waits for is given up. */
  ended(turnId: string): void {
    for (const [id, call] of this.#calls) {
      if (call.turnId !== turnId) continue;
      this.#calls.delete(id);
      call.abort.abort(new Error("the turn has ended"));
    }
  }

  /** Codex has ended. */
  stop(): void {
    for (const { abort } of this.#calls.values()) abort.abort(new Error("codex has ended"));
    this.#calls.clear();
  }
}

function outcome(text: string, success: boolean): Record<string, unknown> {
  return { success, contentItems: [{ type: "inputText", text }] };
}
