import { sha256Hex } from "../../base/hash.ts";
import { dirname, join } from "@std/path";
import { ensurePrivateDir } from "../../base/private_file.ts";
import { randomHex } from "../../base/secret.ts";
import { TOOLS } from "../../protocol/tools.ts";
import type { ProviderLaunch } from "../contract.ts";

const SOURCE = new URL("../../../plugins/claude/", import.meta.url);
/** A monitor is in the way where it is not needed: it makes an idle session read as busy in Claude's own lists. */
const MONITORS = "monitors/monitors.json";
/** The server of the relay's tools, for runs that have a relay. */
const MCP = ".mcp.json";
/** The tools as Claude Code names them: by plugin, server and tool. */
export const PLUGIN_TOOLS: readonly string[] = TOOLS.map(({ name }) =>
  `mcp__plugin_agent-relay_relay__${name}`
);
/** Everything that Claude Code loads; a test compares the list with the directory. */
export const PLUGIN_FILES: readonly string[] = [
  ".claude-plugin/plugin.json",
  MCP,
  "hooks/hooks.json",
  MONITORS,
  "skills/relay/SKILL.md",
];
/** Stands for this very program in the plugin's files. */
const SELF = "@self";

type Self = ProviderLaunch["self"];

/**
 * Unpacks the plugin, which in a compiled program exists only inside the binary, to a private directory named after what
 * is written, and returns that directory. Complete from the moment it can be seen; an existing one is used as it is.
 */
export function unpackPlugin(
  { stateDir, self }: Pick<ProviderLaunch, "stateDir" | "self">,
  options: { monitor: boolean; tools: boolean },
): string {
  const wanted = (name: string) => name === MONITORS ? options.monitor : name === MCP ? options.tools : true;
  const files = PLUGIN_FILES.filter(wanted).map((name) => {
    const text = Deno.readTextFileSync(new URL(name, SOURCE));
    return { name, text: name.endsWith(".json") ? render(text, self) : text };
  });
  const hash = sha256Hex(JSON.stringify(files)).slice(0, 12);
  const target = join(stateDir, `plugin-${hash}`);
  if (exists(target)) return target;
  const temporary = join(stateDir, `.plugin-${randomHex(6)}.tmp`);
  try {
    for (const { name, text } of files) {
      const path = join(temporary, name);
      ensurePrivateDir(dirname(path));
      Deno.writeTextFileSync(path, text, { mode: 0o600 });
    }
    Deno.renameSync(temporary, target);
  } catch (error) {
    remove(temporary);
    // Another start of the same agent was faster; its copy is the same.
    if (!exists(target)) throw error;
  }
  return target;
}

/**
 * Puts this program's command line where the files say `@self`: as command and arguments where Claude starts the program
 * itself (hooks, MCP), as one quoted line where it asks a shell to (monitors have no other form).
 */
function render(text: string, self: Self): string {
  const value = JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    const { command, args } = value as { command?: unknown; args?: unknown };
    if (command === SELF && Array.isArray(args)) return { ...value, ...ownCommand(self, args as string[]) };
    if (typeof command === "string" && command.startsWith(`${SELF} `)) {
      const line = ownCommand(self, command.split(" ").slice(1));
      return { ...value, command: shellLine([line.command, ...line.args]) };
    }
    return value;
  }) as unknown;
  return JSON.stringify(value, null, 2) + "\n";
}

function ownCommand(self: Self, [verb, ...args]: string[]): { command: string; args: string[] } {
  const own = self(verb!);
  return { command: own.command, args: [...own.args, ...args] };
}

/** `exec`: the program is Claude's own child then, and can tell when Claude is gone. */
function shellLine(words: readonly string[]): string {
  if (Deno.build.os === "windows") return words.map((word) => `"${word}"`).join(" ");
  return `exec ${words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")}`;
}

/** On a full or read-only disk not even the first directory may be there. */
function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
