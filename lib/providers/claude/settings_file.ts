import { join, resolve } from "@std/path";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/private_file.ts";
import type { ProviderLaunch } from "../contract.ts";
import { splitArguments } from "./own_arguments.ts";

const SETTINGS_FILE = "claude-settings.json";

/**
 * Returns the person's own settings (`--settings FILE|JSON` among the provider's arguments) with these on top, in order:
 * of two `--settings`, Claude keeps only the last (measured). Ours win where both speak; lists are joined. Throws
 * `E_CONFIG` when theirs cannot be read.
 */
export function mergedSettings(
  launch: Pick<ProviderLaunch, "args" | "cwd">,
  ours: readonly Record<string, unknown>[],
): Record<string, unknown> {
  const { settings } = splitArguments(launch.args);
  return ours.reduce(merge, settings === null ? {} : readSettings(settings, launch.cwd));
}

/** Writes settings to the agent's private file (0600: they hold the token of the hooks) and returns its path. */
export function writeSettings(
  { stateDir }: Pick<ProviderLaunch, "stateDir">,
  settings: Record<string, unknown>,
): string | null {
  if (Object.keys(settings).length === 0) return null;
  const path = join(stateDir, SETTINGS_FILE);
  writeFileAtomic(path, JSON.stringify(settings) + "\n");
  return path;
}

/** Removes the file once the agent is gone: nobody needs its token any more. */
export function removeSettings({ stateDir }: Pick<ProviderLaunch, "stateDir">): void {
  try {
    Deno.removeSync(join(stateDir, SETTINGS_FILE));
  } catch { /* it is not there */ }
}

function readSettings(given: string, cwd: string): Record<string, unknown> {
  try {
    const text = given.trimStart().startsWith("{") ? given : Deno.readTextFileSync(resolve(cwd, given));
    const value = JSON.parse(text) as unknown;
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not an object");
    return value as Record<string, unknown>;
  } catch (error) {
    throw new RunnerError(
      "E_CONFIG",
      `cannot read the --settings given to claude: ${shown(messageOf(error))}`,
      {
        where: shown(given),
        cause: error,
      },
    );
  }
}

/** Objects are merged, lists are joined, anything else is taken from the second. */
export function merge(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const before = result[key];
    if (Array.isArray(before) && Array.isArray(value)) result[key] = [...before, ...value as unknown[]];
    else if (isObject(before) && isObject(value)) result[key] = merge(before, value);
    else result[key] = value;
  }
  return result;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
