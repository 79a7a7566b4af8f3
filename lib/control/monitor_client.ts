import { type Clock, delay } from "../base/clock.ts";
import { MONITOR_FRAME_BYTES, MONITOR_REPLACED, readDeliver } from "../protocol/control.ts";
import { dial, type Link } from "../transport/link.ts";
import type { ControlAccess } from "./control_file.ts";

/** Claude Code (2.1.330) lets one line through every 2 s, with a bucket of 10; what is over is dropped silently. */
const LINE_EVERY_MS = 2_000;
/**
 * A line that was printed is not printed again in this time: its confirmation was lost with the connection. Shorter than
 * the runner waits before it looks into the transcript, so that what was swallowed is printed once more.
 */
const REMEMBER_MS = 30_000;
const RETRY_MS = 200;
const RETRY_MAX_MS = 5_000;
/** The runner has one delivery under way; more waiting frames than this come from nobody we know. */
const WAITING_FRAMES = 64;

/** What a monitor needs of the world. */
export interface MonitorOptions {
  /** Where the runner is now; null while that is not known. */
  access(): Promise<ControlAccess | null>;
  /** Prints one line to the agent. Throws when the agent does not read any more. */
  print(line: string): void;
  clock: Clock;
  /** Ends the monitor: the agent is gone. */
  signal: AbortSignal;
}

/**
 * Prints the runner's notices until the signal says that the agent is gone, over any number of connections. Never ends
 * by itself before: the end of a monitor wakes the model, and it is not started again.
 */
export async function runMonitor({ access, print, clock, signal }: MonitorOptions): Promise<void> {
  const printer = new Printer(print, clock, signal);
  for (let tries = 0; !signal.aborted;) {
    const found = await access();
    if (found !== null && !signal.aborted) {
      const { opened, code } = await follow(found, printer, clock, signal);
      // Another monitor of this session is the live one: two that take it from each other help nobody.
      if (code === MONITOR_REPLACED) return await aborted(signal);
      if (opened) tries = 0;
    }
    try {
      await delay(clock, Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** tries++), signal);
    } catch {
      return;
    }
  }
}

async function follow(
  { url, monitorToken }: ControlAccess,
  printer: Printer,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ opened: boolean; code: number }> {
  const link: Link = dial(`${url.replace(/^http/, "ws")}/monitor`, {
    headers: { authorization: `Bearer ${monitorToken}` },
    clock,
    events: {
      open() {},
      text(data) {
        if (data.length > MONITOR_FRAME_BYTES || !printer.take(data, link)) {
          link.close(1008, "not understood");
        }
      },
    },
  });
  const onAbort = () => link.close(1001, "the agent is gone");
  signal.addEventListener("abort", onAbort, { once: true });
  const end = await link.closed;
  signal.removeEventListener("abort", onAbort);
  printer.gone(link);
  return end;
}

/** Prints lines one by one, never too fast, and confirms a frame on the connection that it came on. */
class Printer {
  readonly #print: (line: string) => void;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #waiting: { frame: NonNullable<ReturnType<typeof readDeliver>>; link: Link }[] = [];
  readonly #printed = new Map<string, number>();
  #lastAt = -Infinity;
  #working = false;

  constructor(print: (line: string) => void, clock: Clock, signal: AbortSignal) {
    this.#print = print;
    this.#clock = clock;
    this.#signal = signal;
  }

  take(data: string, link: Link): boolean {
    const frame = readDeliver(data);
    if (frame === null || this.#waiting.length >= WAITING_FRAMES) return false;
    this.#waiting.push({ frame, link });
    if (!this.#working) void this.#work();
    return true;
  }

  /** The connection is gone and with it what it asked for: the runner will ask again. */
  gone(link: Link): void {
    this.#waiting = this.#waiting.filter((each) => each.link !== link);
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { frame, link } = next;
      for (const { id, line } of frame.messages) {
        const key = `${frame.deliveryId}/${id}`;
        if (this.#isFresh(key)) continue;
        try {
          await delay(this.#clock, this.#lastAt + LINE_EVERY_MS - this.#clock.mono(), this.#signal);
        } catch {
          return;
        }
        if (this.#waiting[0] !== next) break;
        this.#lastAt = this.#clock.mono();
        this.#printed.set(key, this.#lastAt);
        this.#print(line);
      }
      if (this.#waiting[0] !== next) continue;
      this.#waiting.shift();
      const messageIds = frame.messages.map(({ id }) => id);
      link.send(JSON.stringify({ type: "message.delivered", deliveryId: frame.deliveryId, messageIds }));
    }
    this.#working = false;
  }

  #isFresh(key: string): boolean {
    const now = this.#clock.mono();
    for (const [each, at] of this.#printed) if (now - at > REMEMBER_MS) this.#printed.delete(each);
    return this.#printed.has(key);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
