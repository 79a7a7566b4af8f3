import type { Clock } from "../base/clock.ts";
import { RunnerError } from "../base/errors.ts";
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
  readonly #over: AbortSignal;
  readonly #rate: RateLimit;
  #calls = 0;

  /** `over` ends every call that is under way. */
  constructor(tools: ToolPort, { clock, over }: { clock: Clock; over: AbortSignal }) {
    this.#tools = tools;
    this.#clock = clock;
    this.#over = over;
    this.#rate = new RateLimit(clock, RATE);
  }

  /** Carries a call out; `gone` aborts when its sender has hung up. Throws `E_RATE`, `E_TIMEOUT`, what `read` throws. */
  async call(
    name: ToolSpec["name"],
    read: () => Promise<Record<string, unknown>>,
    gone: AbortSignal,
  ): Promise<ToolResult> {
    if (this.#calls >= CALLS) throw new RunnerError("E_RATE", "too many calls are under way");
    if (!this.#rate.allows()) throw new RunnerError("E_RATE", "too many calls in a short time");
    this.#calls++;
    const late = new AbortController();
    const cancel = this.#clock.setTimer(
      DEADLINE_MS,
      () => late.abort(new RunnerError("E_TIMEOUT", "no answer in time")),
    );
    try {
      return await this.#tools.call(name, await read(), AbortSignal.any([gone, late.signal, this.#over]));
    } catch (error) {
      if (late.signal.aborted) throw late.signal.reason;
      if (gone.aborted || this.#over.aborted) throw new RunnerError("E_TIMEOUT", "the call was given up");
      throw error;
    } finally {
      cancel();
      this.#calls--;
    }
  }
}
