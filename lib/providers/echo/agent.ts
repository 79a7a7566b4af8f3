import { lineBatches } from "../../base/bytes.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import type { FailureClass } from "../contract.ts";
import type { EchoOptions } from "./options.ts";
import { ECHO_LINE_LIMIT, type EchoInput, type EchoOutput, SEEN } from "./protocol.ts";

const PLAIN: EchoOptions = { slowMs: 0, fail: null, exit: null, turns: 1, costUsd: null };

/**
 * The built-in agent: answers every message with its text. Runs as a real child process and resolves with its exit
 * code.
 *
 * It writes each delivery id, a line each, to `record` before it says `seen`, as real agents keep a transcript, so that
 * a runner that was killed can learn what was handled. What comes in together is answered together.
 */
export async function runEchoAgent(
  input: ReadableStream<Uint8Array>,
  output: (text: string) => void,
  record: (lines: string) => void,
  options: EchoOptions = PLAIN,
  clock: Clock = systemClock,
): Promise<number> {
  let recorded = "";
  let said = "";
  const note = (line: string) => recorded += line + "\n";
  const say = (message: EchoOutput) => said += JSON.stringify(message) + "\n";
  const flush = () => {
    if (recorded !== "") record(recorded);
    recorded = "";
    const text = said;
    said = "";
    if (text !== "") output(text);
  };
  const { slowMs, fail, exit, turns, costUsd } = options;
  const pause = pauses(clock);
  const exited = Promise.withResolvers<number>();

  const turn = async (deliveryId: string, text: string): Promise<void> => {
    const failed = (failure: FailureClass, reason: string) =>
      say({ type: "failed", deliveryId, failure, reason });
    pause.arm();
    say({ type: "placed", deliveryId });
    if (fail !== null && fail !== "seen") return void failed(fail, `echo was told to fail (${fail})`);
    // An answer that takes time is handled only when it has ended.
    const atOnce = slowMs === 0 && exit === null && fail === null;
    note(atOnce ? deliveryId : `${SEEN}${deliveryId}`);
    say({ type: "seen", deliveryId });
    for (let i = 0; i < turns; i++) say({ type: "turn" });
    if (!atOnce) flush();
    if (slowMs > 0 && !(await pause.wait(slowMs))) {
      return void failed("cancelled", "the turn was interrupted");
    }
    if (exit !== null) return exited.resolve(exit);
    if (fail === "seen") return void failed("transient", "echo was told to fail (seen)");
    if (!atOnce) note(deliveryId);
    const cost = costUsd === null ? {} : { costUsd };
    say({ type: "done", deliveryId, text: `echo: ${bodyOf(text)}`, ...cost });
  };

  // Slow turns run one after the other beside the reading, so that an interrupt gets through.
  let last: Promise<void> = Promise.resolve();
  const read = async () => {
    reading: for await (const batch of lineBatches(input, { maxLineBytes: ECHO_LINE_LIMIT })) {
      for (const line of batch) {
        if (line.kind !== "line") continue;
        const request = JSON.parse(line.text) as EchoInput;
        if (request.type === "stop") break reading;
        if (request.type === "interrupt") pause.end();
        else {
          last = last.then(() => pause.closed ? undefined : turn(request.deliveryId, request.text));
          if (slowMs === 0) await last;
          else last = last.then(flush);
        }
      }
      flush();
    }
    pause.close();
    await last;
    flush();
    return 0;
  };
  say({ type: "ready" });
  flush();
  return await Promise.race([read(), exited.promise]);
}

/** The pause of one turn at a time, which can be ended early: also before it has begun, while the turn says so far. */
function pauses(clock: Clock) {
  let ended = false;
  let closed = false;
  let settle: (() => void) | null = null;
  return {
    get closed() {
      return closed;
    },
    /** A turn begins; ends that came earlier were not meant for it. */
    arm() {
      ended = closed;
    },
    /** Resolves true after the whole time, false when it was ended early. */
    async wait(ms: number): Promise<boolean> {
      let cancel = () => {};
      await new Promise<void>((resolve) => {
        if (ended) return resolve();
        settle = resolve;
        cancel = clock.setTimer(ms, resolve);
      });
      cancel();
      settle = null;
      return !ended;
    },
    /** Ends the pause of the turn that runs. */
    end() {
      ended = true;
      settle?.();
    },
    /** Ends this pause and has no further turn begun. */
    close() {
      closed = true;
      this.end();
    },
  };
}

/** Returns the body of a framed message; text that is not a frame is returned whole. */
function bodyOf(text: string): string {
  const framed = /^<relay-message [^\n]*>\n?([\s\S]*?)\n?<\/relay-message nonce=[^\n>]*>\s*$/.exec(
    text.trim(),
  );
  return framed?.[1] ?? text;
}
