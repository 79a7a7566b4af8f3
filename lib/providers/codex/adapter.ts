import type { ProviderAdapter } from "../contract.ts";
import { serverArguments, splitArguments } from "./arguments.ts";
import { CodexSession } from "./session.ts";

/** OpenAI Codex. One delivery at a time: the next message is the next turn. */
export const codexAdapter: ProviderAdapter = {
  provider: "codex",
  window: 1,
  buildSpawnArgs: (launch) => serverArguments(splitArguments(launch.args).serverArgs, "SHA256", 0),
  spawn: (launch, ports) => CodexSession.start(launch, ports),
};
