import { readAllCapped } from "../../base/bytes.ts";
import { readControlFile } from "../../control/control_file.ts";
import { postHook } from "../../control/post_hook.ts";
import type { Verb } from "../contract.ts";

const BODY_BYTES = 1024 * 1024;
/** The agent may wait for its hook: whatever happens, it waits no longer than this. */
const DEADLINE_MS = 1_000;

/**
 * Posts one hook of the agent, from standard input, to its runner. For the one event that Claude Code (2.1.330) cannot
 * post itself. Always returns 0: a runner that is gone is no reason to disturb the agent.
 */
export const run: Verb = async ({ positionals }, io) => {
  try {
    const control = await readControlFile(io.env.AGENT_RELAY_CONTROL_FILE);
    if (!control.ok) return 0;
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const body = await readAllCapped(Deno.stdin.readable, { maxBytes: BODY_BYTES, signal });
    if (!body.ok) return 0;
    const { url, hookToken } = control.access;
    await postHook({ url, token: hookToken, event: positionals[0] ?? "", body: body.bytes }, signal);
  } catch { /* nothing that the agent should hear of */ }
  return 0;
};
