import type { ProviderAdapter } from "../contract.ts";
import { type ConversationStart, headlessArguments, interactiveArguments } from "./arguments.ts";
import { HeadlessClaude } from "./headless.ts";
import { InteractiveClaude } from "./interactive.ts";

/** Claude Code. One delivery at a time: the next message is the next turn. */
export const claudeAdapter: ProviderAdapter = {
  provider: "claude",
  window: 1,
  buildSpawnArgs: (launch) => {
    const conversation: ConversationStart = {
      kind: launch.resume === null ? "new" : "resume",
      sessionId: launch.resume ?? "NEW",
    };
    const settingsFile = launch.approval === "open" ? `${launch.stateDir}/claude-settings.json` : null;
    return launch.headless
      ? headlessArguments(launch, conversation, settingsFile)
      : interactiveArguments(launch, conversation, {
        settingsFile,
        socketPath: `${launch.stateDir}/claude.sock`,
      });
  },
  spawn: (launch, ports) =>
    launch.headless ? HeadlessClaude.start(launch, ports) : InteractiveClaude.start(launch, ports),
};
