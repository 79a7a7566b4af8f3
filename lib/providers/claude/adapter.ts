import type { ProviderAdapter } from "../contract.ts";
import { headlessArguments, interactiveArguments, settingsOf } from "./arguments.ts";
import type { ConversationStart } from "./conversation.ts";
import { HeadlessClaude } from "./headless.ts";
import { InteractiveClaude } from "./interactive.ts";
import { checkArguments, splitArguments } from "./own_arguments.ts";
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
      ? headlessArguments(
        launch,
        conversation,
        Object.keys(settingsOf(launch)).length > 0 ? settingsFile : null,
      )
      : interactiveArguments(launch, conversation, {
        settingsFile,
        socketPath: `${launch.stateDir}/claude-${launch.incarnation}.sock`,
      });
  },
  prepare(setup, { clock }) {
    // What cannot work is an error of the command line, not of the agent.
    checkArguments(setup);
    mergedSettings(setup, []);
    void claudeVersion(setup, clock);
  },
  ownApproval: ({ args }) => splitArguments(args).permissionMode,
  spawn: (launch, ports) =>
    launch.headless ? HeadlessClaude.start(launch, ports) : InteractiveClaude.start(launch, ports),
};
