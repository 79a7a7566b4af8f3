import { systemClock } from "../../base/clock.ts";
import { readControlFile } from "../../control/control_file.ts";
import { runMonitor } from "../../control/monitor_client.ts";
import type { Verb } from "../contract.ts";

/** How soon a monitor notices that its agent was killed. */
const PARENT_MS = 1_000;

/** The monitor inside Claude Code's plugin: prints a line for every message that waits, until the agent is gone. */
export const run: Verb = async (_invocation, io) => {
  const gone = new AbortController();
  const parent = Deno.ppid;
  const timer = setInterval(() => {
    // A killed agent leaves its monitor to another parent and says nothing.
    if (Deno.ppid !== parent) gone.abort(new Error("the agent is gone"));
  }, PARENT_MS);
  const encoder = new TextEncoder();
  await runMonitor({
    async access() {
      const control = await readControlFile(io.env.AGENT_RELAY_CONTROL_FILE);
      return control.ok ? control.access : null;
    },
    print(line) {
      try {
        Deno.stdout.writeSync(encoder.encode(line + "\n"));
      } catch (error) {
        gone.abort(error);
      }
    },
    clock: systemClock,
    signal: gone.signal,
  });
  clearInterval(timer);
  return 0;
};
