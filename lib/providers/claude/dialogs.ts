import { join } from "@std/path";
import type { ProviderLaunch } from "../contract.ts";
import { configDir } from "./transcript.ts";

/** Claude Code's own configuration, as far as its start dialogs depend on it. */
interface Config {
  hasCompletedOnboarding?: unknown;
  projects?: Record<string, { hasTrustDialogAccepted?: unknown } | null>;
  customApiKeyResponses?: { approved?: unknown; rejected?: unknown };
  bypassPermissionsModeAccepted?: unknown;
}

/**
 * Says which dialog keeps a session from beginning, from what Claude Code has on record; dialogs are shown in the order
 * that is asked here (2.1.330). Nobody reads the screen: what is drawn there belongs to the person.
 */
export async function blockingDialog(
  launch: Pick<ProviderLaunch, "env" | "cwd" | "args">,
  settings: Readonly<Record<string, unknown>>,
): Promise<string> {
  const { env, cwd } = launch;
  const config = await readJson<Config>(
    env.CLAUDE_CONFIG_DIR === undefined
      ? join(env.HOME ?? "/", ".claude.json")
      : join(env.CLAUDE_CONFIG_DIR, ".claude.json"),
  );
  if (config.hasCompletedOnboarding !== true) return "onboarding dialog";
  if (!trusted(config, cwd) && env.CLAUDE_CODE_SANDBOXED !== "1") return "trust dialog";
  if (env.ANTHROPIC_API_KEY && !answered(config, env.ANTHROPIC_API_KEY)) return "API key dialog";
  const own = await readJson<Record<string, unknown>>(join(configDir(env), "settings.json"));
  if (
    asksForBypass(launch.args, { ...own, ...settings }) &&
    settings.skipDangerousModePermissionPrompt !== true &&
    own.skipDangerousModePermissionPrompt !== true && config.bypassPermissionsModeAccepted !== true
  ) return "bypass permissions dialog";
  return "start dialog";
}

/** Trust of a folder counts for what is in it. */
function trusted({ projects }: Config, cwd: string): boolean {
  return Object.entries(projects ?? {}).some(([dir, project]) =>
    project?.hasTrustDialogAccepted === true && (cwd === dir || cwd.startsWith(`${dir.replace(/\/$/, "")}/`))
  );
}

/** A key is known by its last 20 characters, whether it was approved or not. */
function answered({ customApiKeyResponses: responses }: Config, key: string): boolean {
  const end = key.slice(-20);
  return [responses?.approved, responses?.rejected].some((list) => Array.isArray(list) && list.includes(end));
}

function asksForBypass(args: readonly string[], settings: Readonly<Record<string, unknown>>): boolean {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  const { defaultMode } = (settings.permissions ?? {}) as { defaultMode?: unknown };
  return flags.some((arg, i) =>
    arg === "--dangerously-skip-permissions" || arg === "--permission-mode=bypassPermissions" ||
    (arg === "bypassPermissions" && flags[i - 1] === "--permission-mode")
  ) || defaultMode === "bypassPermissions";
}

/** What a file of Claude's holds; empty when it was never written, or is being written now. */
async function readJson<T extends object>(path: string): Promise<Partial<T>> {
  try {
    const value = JSON.parse(await Deno.readTextFile(path)) as unknown;
    return typeof value === "object" && value !== null ? value as Partial<T> : {};
  } catch {
    return {};
  }
}
