import type { ProviderAdapter } from "../contract.ts";
import { headlessArguments } from "./arguments.ts";
import { HeadlessClaude } from "./headless.ts";

/** Claude Code. One delivery at a time: the next message is the next turn. */
export const claudeAdapter: ProviderAdapter = {
  provider: "claude",
  window: 1,
  buildSpawnArgs: (launch) =>
    headlessArguments(
      launch,
      { kind: launch.resume === null ? "new" : "resume", sessionId: launch.resume ?? "NEW" },
      launch.approval === "open" ? `${launch.stateDir}/claude-settings.json` : null,
    ),
  spawn: (launch, ports) => HeadlessClaude.start(launch, ports),
};
