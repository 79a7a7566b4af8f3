import { readControlFile } from "../../control/control_file.ts";
import { serveMcp } from "../../control/mcp_server.ts";
import { postTool } from "../../control/post_tool.ts";
import type { Verb } from "../contract.ts";

/** The MCP server inside the agent: passes each call of a relay tool on to the agent's runner, until its input ends. */
export const run: Verb = async (_invocation, io) => {
  const encoder = new TextEncoder();
  await serveMcp({
    input: Deno.stdin.readable,
    write(line) {
      const bytes = encoder.encode(line + "\n");
      try {
        for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
      } catch { /* nobody reads any more: the input ends as well */ }
    },
    async call(name, args, signal) {
      const control = await readControlFile(io.env.AGENT_RELAY_CONTROL_FILE);
      if (!control.ok) return { text: `there is no relay here: ${control.reason}`, isError: true };
      return await postTool(control.access, { name, args }, signal);
    },
  });
  return 0;
};
