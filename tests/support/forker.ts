import { systemClock, TIMED_OUT, withDeadline } from "../../lib/base/clock.ts";

/** Far more than a thread needs to begin, and to end after the process that it has just started. */
const ANSWER_MS = 30_000;

/**
 * Works while another thread starts processes all the time. Each of those has what this process has open for the moment
 * until it becomes its program.
 */
export async function whileForking(work: () => void): Promise<void> {
  const worker = new Worker(new URL("./forker_thread.ts", import.meta.url), { type: "module" });
  const told = async (message: string) => {
    const answer = new Promise((resolve) => worker.onmessage = resolve);
    if (await withDeadline(systemClock, ANSWER_MS, answer) === TIMED_OUT) {
      throw new Error(`the thread did not say "${message}"`);
    }
  };
  const over = new SharedArrayBuffer(4);
  try {
    const forking = told("forking");
    worker.postMessage(over);
    await forking;
    try {
      work();
    } finally {
      // Not terminate() alone, which a thread that never waits does not notice: it would go on through all later tests,
      // and take from them the ports that they have just closed.
      const ended = told("over");
      Atomics.store(new Int32Array(over), 0, 1);
      await ended;
    }
  } finally {
    worker.terminate();
  }
}
