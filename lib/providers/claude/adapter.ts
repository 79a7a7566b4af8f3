import type { ProviderAdapter } from "../contract.ts";
import { type ConversationStart, headlessArguments, interactiveArguments } from "./arguments.ts";
import { HeadlessClaude } from "./headless.ts";
import { InteractiveClaude } from "./interactive.ts";
import { mergedSettings } from "./settings_file.ts";
import { claudeVersion } from "./version.ts";

/** Claude Code. One delivery at a time: the next message is the next turn. */
export const claudeAdapter: ProviderAdapter = {
  provider: "claude",
  window: 1,
  buildSpawnArgs: (launch) => {
    const conversation: ConversationStart = {
      kind: launch.resume === null ? "new" : "resume",
      sessionId: launch.resume ?? "NEW",
    };
    const settingsFile = `${launch.stateDir}/claude-settings.json`;
    return launch.headless
      ? headlessArguments(launch, conversation, launch.approval === "open" ? settingsFile : null)
      : interactiveArguments(launch, conversation, {
        settingsFile,
        socketPath: `${launch.stateDir}/claude-${launch.incarnation}.sock`,
      });
  },
  prepare(setup, { clock }) {
    // Settings that cannot be read are an error of the command line, not of the agent.
    mergedSettings(setup, []);
    void claudeVersion(setup, clock);
  },
  spawn: (launch, ports) =>
    launch.headless ? HeadlessClaude.start(launch, ports) : InteractiveClaude.start(launch, ports),
};
