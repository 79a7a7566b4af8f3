import type { ApprovalMode, ProviderLaunch } from "../contract.ts";
import { splitArguments } from "./own_arguments.ts";
import { PLUGIN_TOOLS } from "./plugin.ts";
import type { ConversationStart } from "./conversation.ts";
import { isAtLeast } from "./version.ts";

/**
 * Claude Code's settings that our modes need beside flags; merged into the person's own. The relay's tools act on the bus
 * only and are never asked about: a rule in the settings leaves the person's own `--allowedTools` as they are.
 */
export function settingsOf(
  { approval, args, tools }: Pick<ProviderLaunch, "approval" | "args" | "tools">,
): Record<string, unknown> {
  const open = approval === "open";
  // In that mode Claude Code would ask about every message, also when it was the person's own word that chose it. The dialog
  // in which it warns of the mode stays theirs to answer then; `--approval open` is the answer.
  const bypasses = open || splitArguments(args).permissionMode === "bypassPermissions";
  return {
    ...(open ? { skipDangerousModePermissionPrompt: true } : {}),
    ...(bypasses ? { crossSessionInbound: "accept" } : {}),
    ...(tools === undefined ? {} : { permissions: { allow: [...PLUGIN_TOOLS] } }),
  };
}

/**
 * Flags of an approval mode: `guarded` asks, in headless runs over stdio. That mode is called `manual` in 2.1.330 and
 * `default` in 2.1.197, which refuses the other name; 2.1.330 still takes the old one, as do those in between.
 */
export function approvalFlags(approval: ApprovalMode, version: string | null): string[] {
  switch (approval) {
    case "read-only":
      return ["--permission-mode", "dontAsk", "--allowedTools=Read,Grep,Glob"];
    case "guarded":
      return ["--permission-mode", version === null || isAtLeast(version, "2.1.330") ? "manual" : "default"];
    case "open":
      return ["--permission-mode", "bypassPermissions"];
  }
}

/**
 * Flags of limits that Claude Code keeps more exactly than we can: it does not ask the model once more than allowed
 * and stops in the middle of a turn. Its turns are counted per message, so only a run of one message may have that.
 */
function limitFlags(
  { once, maxTurns, maxCostUsd }: Pick<ProviderLaunch, "once" | "maxTurns" | "maxCostUsd">,
): string[] {
  return [
    ...(once && maxTurns !== null ? ["--max-turns", String(maxTurns)] : []),
    ...(maxCostUsd === null ? [] : ["--max-budget-usd", String(maxCostUsd)]),
  ];
}

/**
 * Returns the arguments of a headless Claude Code: stream-json on stdin and stdout, replay of user messages (their
 * uuids are our delivery ids), permissions over stdio. Prompts never travel in argv.
 */
export function headlessArguments(
  launch: Pick<ProviderLaunch, "args" | "agentId" | "approval" | "once" | "maxTurns" | "maxCostUsd">,
  conversation: ConversationStart,
  settingsFile: string | null,
  version: string | null = null,
): string[] {
  const { kind, sessionId } = conversation;
  return [
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--replay-user-messages",
    "--permission-prompt-tool",
    "stdio",
    ...approvalFlags(launch.approval, version),
    ...limitFlags(launch),
    kind === "resume" ? "--resume" : "--session-id",
    sessionId,
    ...(settingsFile === null ? [] : ["--settings", settingsFile]),
    ...splitArguments(launch.args, launch.agentId).later,
  ];
}

/**
 * Returns the arguments of a Claude Code in the person's terminal: messages come through the session socket, and
 * everything else is what they typed after `--`. A prompt and a choice of the conversation among it are for the opening.
 */
export function interactiveArguments(
  launch: Pick<ProviderLaunch, "args" | "agentId" | "approval" | "opening">,
  conversation: ConversationStart,
  options: { settingsFile: string | null; socketPath: string | null; version?: string | null },
): string[] {
  const { version = null } = options;
  const own = splitArguments(launch.args, launch.agentId);
  return [
    ...approvalFlags(launch.approval, version),
    ...(options.socketPath === null ? [] : ["--messaging-socket-path", options.socketPath]),
    ...(launch.opening && own.choice !== null
      ? []
      : [conversation.kind === "resume" ? "--resume" : "--session-id", conversation.sessionId]),
    ...(options.settingsFile === null ? [] : ["--settings", options.settingsFile]),
    ...(launch.opening ? own.opening : own.later),
  ];
}
