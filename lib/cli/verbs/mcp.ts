import { readControlFile } from "../../control/control_file.ts";
import { serveMcp } from "../../control/mcp_server.ts";
import type { Verb } from "../contract.ts";

const CHUNK_BYTES = 64 * 1024;

/** The verb as a person may call it; the agent takes the shorter way of `main.ts` to the same work. */
export const run: Verb = async (_invocation, io) => {
  await serveTools(io.env.AGENT_RELAY_CONTROL_FILE);
  return 0;
};

/**
 * The MCP server inside the agent: passes each call of a relay tool on to the agent's runner, until its input ends. The
 * agent waits for it at its start, so that what only a call needs is loaded with the first one.
 */
export async function serveTools(controlFile: string | undefined): Promise<void> {
  const encoder = new TextEncoder();
  await serveMcp({
    input: standardInput(),
    write(line) {
      const bytes = encoder.encode(line + "\n");
      try {
        for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
      } catch { /* nobody reads any more: the input ends as well */ }
    },
    async call(name, args, signal) {
      const { postTool } = await import("../../control/post_tool.ts");
      const control = await readControlFile(controlFile);
      if (!control.ok) return { text: `there is no relay here: ${control.reason}`, isError: true };
      return await postTool(control.access, { name, args }, signal);
    },
  });
}

/** Standard input, not as a stream: loading streams is 3 of 23 ms (Deno 2.9.6). */
async function* standardInput(): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const read = await Deno.stdin.read(chunk);
    if (read === null) return;
    yield chunk.subarray(0, read);
  }
}
