import { readControlFile } from "../../control/control_file.ts";
import { postHook } from "../../control/post_hook.ts";
import type { Verb } from "../contract.ts";

const BODY_BYTES = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
/** The agent may wait for its hook: whatever happens, it waits no longer than this. */
const DEADLINE_MS = 1_000;

/** The verb as a person may call it; the agent's hooks take the shorter way of `main.ts` to the same work. */
export const run: Verb = async ({ positionals }, io) => {
  await passHookOn(positionals[0] ?? "", io.env.AGENT_RELAY_CONTROL_FILE);
  return 0;
};

/**
 * Posts one hook of the agent, from standard input, to its runner. For the one event that Claude Code (2.1.330) cannot
 * post itself. Never rejects: a runner that is gone is no reason to disturb the agent.
 */
export async function passHookOn(event: string, controlFile: string | undefined): Promise<void> {
  try {
    const control = await readControlFile(controlFile);
    if (!control.ok) return;
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const body = await readInput(signal);
    if (body === null) return;
    const { url, hookToken } = control.access;
    await postHook({ url, token: hookToken, event, body }, signal);
  } catch { /* nothing that the agent should hear of */ }
}

/**
 * Standard input to its end; null when it is longer than a hook may be. Rejects when the signal aborts; the read that
 * is under way then ends with the process. Not as a stream: loading streams is 3 of 23 ms (Deno 2.9.6).
 */
async function readInput(signal: AbortSignal): Promise<Uint8Array | null> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => {});
  let bytes = new Uint8Array(CHUNK_BYTES);
  let size = 0;
  for (;;) {
    if (size === bytes.length) {
      if (size > BODY_BYTES) return null;
      const larger = new Uint8Array(2 * size);
      larger.set(bytes);
      bytes = larger;
    }
    const read = await Promise.race([Deno.stdin.read(bytes.subarray(size)), aborted]);
    if (read === null) return size > BODY_BYTES ? null : bytes.subarray(0, size);
    size += read;
  }
}
