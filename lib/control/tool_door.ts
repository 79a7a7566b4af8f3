import type { Clock } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { RateLimit } from "../base/rate_limit.ts";
import { type ToolResult, type ToolSpec, WAIT_LIMIT_S } from "../protocol/tools.ts";
import type { ToolPort } from "../providers/contract.ts";

/** What a model does, not what a loop of it could do: a message wakes other models, and that costs. */
const RATE = { burst: 30, perSecond: 1 };
/** Calls that may be under way, most of which wait for an answer. */
const CALLS = 8;
/** Longest wait that a call may ask for, and what the relay may take for the rest. */
const DEADLINE_MS = WAIT_LIMIT_S * 1_000 + 60_000;

/** The control server's end of `POST /tool/<name>`: bounds what an agent may ask of the bus. */
export class ToolDoor {
  readonly #tools: ToolPort;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #over: AbortSignal;
  readonly #rate: RateLimit;
  #calls = 0;

  /** `over` ends every call that is under way. */
  constructor(tools: ToolPort, { clock, log, over }: { clock: Clock; log: Log; over: AbortSignal }) {
    this.#tools = tools;
    this.#log = log;
    this.#clock = clock;
    this.#over = over;
    this.#rate = new RateLimit(clock, RATE);
  }

  /**
   * Answers a request whose token was checked. Throws `E_RATE` and what `read` throws. The answer is a stream, since only
   * that tells of a sender that has hung up: reading the signal of a request prints a warning of Deno's (2.9.6).
   */
  async answer(name: ToolSpec["name"], read: () => Promise<Record<string, unknown>>): Promise<Response> {
    if (this.#calls >= CALLS) throw new RunnerError("E_RATE", "too many calls are under way");
    if (!this.#rate.allows()) throw new RunnerError("E_RATE", "too many calls in a short time");
    this.#calls++;
    let args: Record<string, unknown>;
    try {
      args = await read();
    } catch (error) {
      this.#calls--;
      throw error;
    }
    const gone = new AbortController();
    const stream = new ReadableStream<Uint8Array>({
      start: async (controller) => {
        const result = await this.#call(name, args, gone.signal);
        this.#calls--;
        if (gone.signal.aborted) return;
        controller.enqueue(new TextEncoder().encode(JSON.stringify(result)));
        controller.close();
      },
      cancel: () => gone.abort(new Error("the sender has hung up")),
    });
    return new Response(stream, {
      headers: {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      },
    });
  }

  /** Never rejects: by now the status of the answer is out. */
  async #call(name: ToolSpec["name"], args: unknown, gone: AbortSignal): Promise<ToolResult> {
    const late = new AbortController();
    const cancel = this.#clock.setTimer(DEADLINE_MS, () => late.abort(new Error("no answer in time")));
    try {
      return await this.#tools.call(name, args, AbortSignal.any([gone, late.signal, this.#over]));
    } catch (error) {
      if (!gone.aborted) this.#log.warn("a tool call failed", { tool: name, error: messageOf(error) });
      return { text: messageOf(error), isError: true };
    } finally {
      cancel();
    }
  }
}
