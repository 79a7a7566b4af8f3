import type { ProviderAdapter } from "../contract.ts";
import { serverArguments, splitArguments } from "./arguments.ts";
import { CodexSession } from "./session.ts";
import { CodexTerminal } from "./terminal.ts";

/** OpenAI Codex, for one run. One delivery at a time: the next message is the next turn. */
export function createCodexAdapter(): ProviderAdapter {
  const terminal = new CodexTerminal();
  return {
    provider: "codex",
    window: 1,
    buildSpawnArgs: (launch) => serverArguments(splitArguments(launch.args), "SHA256", 0),
    spawn: (launch, ports) => CodexSession.start(launch, ports, terminal),
    dispose: (options) => terminal.dispose(options),
  };
}
