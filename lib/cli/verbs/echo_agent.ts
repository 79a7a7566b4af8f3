import { runEchoAgent } from "../../providers/echo/agent.ts";
import type { Verb } from "../contract.ts";

/** The child process of the echo provider: speaks its line protocol on stdin and stdout. */
export const run: Verb = async ({ positionals }) => {
  const [path] = positionals;
  const file = path === undefined ? null : await Deno.open(path, { append: true, create: true, mode: 0o600 });
  const encoder = new TextEncoder();
  await runEchoAgent(Deno.stdin.readable, Deno.stdout.writable, (deliveryId) => {
    file?.writeSync(encoder.encode(deliveryId + "\n"));
  });
  file?.close();
  return 0;
};
