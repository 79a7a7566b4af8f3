import { resolve } from "@std/path";
import { RunnerError, shown } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { childEnv } from "../../config/child_env.ts";
import { resolveCommand } from "../../config/command_path.ts";
import type { RunSettings } from "../../config/contract.ts";
import { controlFileOf } from "../../control/contract.ts";
import { RUN_MARKER } from "../../process/mod.ts";
import type { ProviderSetup } from "../../providers/contract.ts";
import { selfCommand } from "../self_command.ts";
import type { AgentPlace } from "./agent_place.ts";
import type { RelayAddress } from "./relay_address.ts";

/**
 * Returns the absolute path of the provider's command. Called first of all, so that a missing agent is said before
 * anything was begun. Throws `E_PROVIDER_CMD`.
 */
export function providerCommand(settings: RunSettings, path: string | undefined): string {
  if (settings.provider === "echo") return selfCommand("__echo-agent").command;
  return resolveCommand(settings.providerSettings.command.value, {
    cwd: settings.cwd.value,
    path,
    provider: settings.provider,
  });
}

/** Returns what every incarnation of the agent is started with. Throws `E_CONFIG` for a plugin directory that is not there. */
export function providerSetup(
  settings: RunSettings,
  options: {
    command: string;
    /** The runner's own environment, from which the agent's is made. */
    env: Readonly<Record<string, string>>;
    place: AgentPlace;
    relay: RelayAddress | null;
  },
): ProviderSetup {
  const { command, place, relay } = options;
  const { provider, providerSettings } = settings;
  const env = childEnv({
    parent: options.env,
    headless: settings.headless,
    passEnv: providerSettings.passEnv.value,
    configured: providerSettings.env.value,
    secrets: [relay?.token ?? ""],
    run: {
      AGENT_RELAY_RUNNER_ID: place.runnerId,
      AGENT_RELAY_ID: place.agentId,
      ...(relay === null ? {} : { AGENT_RELAY_URL: relay.url }),
      AGENT_RELAY_PROVIDER: provider,
      AGENT_RELAY_CONTROL_FILE: controlFileOf(place.dir),
      [RUN_MARKER]: place.runId,
    },
  });
  const args = provider === "echo" ? [...selfCommand("__echo-agent").args, "--", ...settings.providerArgs] : [
    ...(provider === "claude" ? pluginArguments(settings) : []),
    ...providerSettings.defaultArgs.value,
    ...settings.providerArgs,
  ];
  return {
    command,
    args,
    cwd: settings.cwd.value,
    env,
    approval: settings.approval.value,
    headless: settings.headless,
    agentId: place.agentId,
    label: settings.label.value,
    version: VERSION,
    stateDir: place.dir,
    conversation: settings.conversation.value,
    once: settings.goal.once !== null,
    maxTurns: settings.goal.maxTurns,
    maxCostUsd: settings.goal.maxCostUsd,
    self: selfCommand,
    delivery: providerSettings.delivery.value,
  };
}

/** Claude passes over a plugin directory that is not there without a word, so it is looked at here. */
function pluginArguments(settings: RunSettings): string[] {
  const { value, where } = settings.providerSettings.pluginDirs;
  return value.flatMap((given) => {
    const dir = resolve(settings.cwd.value, given);
    try {
      if (Deno.statSync(dir).isDirectory) return ["--plugin-dir", dir];
    } catch { /* said below */ }
    throw new RunnerError("E_CONFIG", `plugin directory "${shown(given)}" is not there`, {
      ...(where === undefined ? {} : { where }),
    });
  });
}
