import { resolve } from "@std/path";
import { RunnerError, shown } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { childEnv } from "../../config/child_env.ts";
import { resolveCommand } from "../../config/command_path.ts";
import type { RunSettings } from "../../config/contract.ts";
import type { ControlServer } from "../../control/server.ts";
import { RUN_MARKER } from "../../process/mod.ts";
import type { ProviderLaunch } from "../../providers/contract.ts";
import { selfCommand } from "../self_command.ts";
import type { AgentPlace } from "./agent_place.ts";
import type { RelayPlace } from "./relay_place.ts";

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

/** Returns how to start each incarnation of the agent. Throws `E_CONFIG` for a plugin directory that is not there. */
export function launcher(
  settings: RunSettings,
  options: {
    command: string;
    /** The runner's own environment, from which the agent's is made. */
    env: Readonly<Record<string, string>>;
    place: AgentPlace;
    relay: RelayPlace | null;
    control: ControlServer;
  },
): (incarnation: number, resume: string | null) => ProviderLaunch {
  const { command, place, relay, control } = options;
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
      AGENT_RELAY_APPROVAL: settings.approval.value,
      AGENT_RELAY_PROVIDER: provider,
      AGENT_RELAY_CONTROL_FILE: control.controlFile,
      [RUN_MARKER]: place.runId,
    },
  });
  const args = provider === "echo" ? [...selfCommand("__echo-agent").args, "--", ...settings.providerArgs] : [
    ...(provider === "claude" ? pluginArguments(settings) : []),
    ...providerSettings.defaultArgs.value,
    ...settings.providerArgs,
  ];
  return (incarnation, resume) => ({
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
    resume,
    incarnation,
    once: settings.goal.once !== null,
    maxTurns: settings.goal.maxTurns,
    maxCostUsd: settings.goal.maxCostUsd,
    control: { url: control.url, hookToken: control.tokens.hook },
    self: selfCommand,
    delivery: providerSettings.delivery.value,
  });
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
