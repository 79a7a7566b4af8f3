/**
 * Works while another thread starts processes all the time. Each of those has what this process has open for the moment
 * until it becomes its program.
 */
export async function whileForking(work: () => void): Promise<void> {
  const worker = new Worker(new URL("./forker_thread.ts", import.meta.url), { type: "module" });
  const told = () => new Promise((resolve) => worker.onmessage = resolve);
  const over = new SharedArrayBuffer(4);
  const forking = told();
  worker.postMessage(over);
  await forking;
  const ended = told();
  try {
    work();
  } finally {
    // Not terminate() alone, which a thread that never waits does not notice: it would go on through all later tests, and
    // take from them the ports that they have just closed.
    Atomics.store(new Int32Array(over), 0, 1);
    await ended;
    worker.terminate();
  }
}
