import { runEchoAgent } from "../../providers/echo/agent.ts";
import { parseEchoOptions } from "../../providers/echo/options.ts";
import type { Verb } from "../contract.ts";

/** The child process of the echo provider: speaks its line protocol on stdin and stdout. */
export const run: Verb = async ({ providerArgs }, io) => {
  const args = [...providerArgs];
  const path = args.pop();
  const options = parseEchoOptions(args);
  if (options === null) {
    io.err(
      "echo: options are --slow TIME, --fail transient|message|provider|seen, --exit CODE, --turns N, --cost USD\n",
    );
    return 2;
  }
  const file = path === undefined ? null : await Deno.open(path, { append: true, create: true, mode: 0o600 });
  const encoder = new TextEncoder();
  const code = await runEchoAgent(
    Deno.stdin.readable,
    // Written at once: as a stream it goes through a thread of its own, 0.1 ms of the 0.3 of an answer.
    io.out,
    (lines) => void file?.writeSync(encoder.encode(lines)),
    options,
  );
  file?.close();
  return code;
};
