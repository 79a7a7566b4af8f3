import { join, resolve } from "@std/path";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import { writeFileAtomic } from "../../base/private_file.ts";
import type { ProviderLaunch } from "../contract.ts";
import { withoutSettings } from "./arguments.ts";

/**
 * Writes the settings of this launch merged with the person's own (`--settings FILE|JSON` among the provider's
 * arguments) to a private file and returns its path; null when there is nothing to say. Ours win where both speak;
 * lists of hooks are joined. Throws `E_CONFIG` when theirs cannot be read.
 */
export function writeSettings(launch: ProviderLaunch, own: Record<string, unknown>): string | null {
  const { settings } = withoutSettings(launch.args);
  if (settings === null && Object.keys(own).length === 0) return null;
  const theirs = settings === null ? {} : readSettings(settings, launch.cwd);
  const path = join(launch.stateDir, "claude-settings.json");
  writeFileAtomic(path, JSON.stringify(merge(theirs, own)) + "\n");
  return path;
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
