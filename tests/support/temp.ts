/** Runs `work` with a private temporary directory and removes it after. */
export async function withTempDir<T>(work: (dir: string) => Promise<T> | T): Promise<T> {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "runner-test-" }));
  try {
    return await work(dir);
  } finally {
    // A program that is just ending may still write there.
    await until(`${dir} to be removed`, async () => {
      try {
        await Deno.remove(dir, { recursive: true });
        return true;
      } catch (error) {
        if (!/not empty/i.test(String(error))) throw error;
        return false;
      }
    }, 5_000);
  }
}

/** Resolves once `condition` holds; rejects with `what` after `timeoutMs` (default 20 s). */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * A loopback port that nobody listens on. It is below those that systems give to clients (32768 on Linux, 49152
 * elsewhere): a connection of another test would take one of theirs in the moment between this and its use.
 */
export function freePort(): number {
  for (;;) {
    const port = 10_000 + crypto.getRandomValues(new Uint16Array(1))[0]! % 22_000;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** Resolves after the time, or as soon as the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done, { once: true });
  });
}
