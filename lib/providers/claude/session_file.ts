import { join } from "@std/path";
import type { Activity } from "../contract.ts";
import { configDir } from "./transcript.ts";

/** What Claude Code says of itself in `sessions/<pid>.json` (2.1.330; also right after Esc, which fires no hook). */
export interface SessionInfo {
  path: string;
  sessionId: string;
  activity: Activity;
  /** What a person is waited for, for example `permission prompt`. */
  waitingFor: string | null;
}

/**
 * Finds the session that listens on our socket, or null while there is none: the file is written only after onboarding
 * and trust. The pid in its name may be that of a wrapper's child, so the socket is what is compared.
 */
export async function findSession(
  env: Readonly<Record<string, string>>,
  socketPath: string,
): Promise<SessionInfo | null> {
  const dir = join(configDir(env), "sessions");
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (!entry.name.endsWith(".json")) continue;
      const session = await readSession(join(dir, entry.name), socketPath);
      if (session !== null) return session;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return null;
}

/** Reads one session file; null when it is gone, half-written or another session's. */
export async function readSession(path: string, socketPath: string): Promise<SessionInfo | null> {
  let value: { sessionId?: unknown; messagingSocketPath?: unknown; status?: unknown; waitingFor?: unknown };
  try {
    value = JSON.parse(await Deno.readTextFile(path)) as typeof value;
  } catch {
    return null;
  }
  if (value.messagingSocketPath !== socketPath || typeof value.sessionId !== "string") return null;
  const activity: Activity = value.status === "busy"
    ? "busy"
    : value.status === "waiting"
    ? "approval"
    : "idle";
  const waitingFor = typeof value.waitingFor === "string" ? value.waitingFor : null;
  return { path, sessionId: value.sessionId, activity, waitingFor };
}

/** Says which dialog keeps a session from beginning, from what Claude's own configuration has on record. */
export async function blockingDialog(
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<string> {
  const path = env.CLAUDE_CONFIG_DIR === undefined
    ? join(env.HOME ?? "/", ".claude.json")
    : join(env.CLAUDE_CONFIG_DIR, ".claude.json");
  let config: {
    hasCompletedOnboarding?: unknown;
    projects?: Record<string, { hasTrustDialogAccepted?: unknown } | undefined>;
    customApiKeyResponses?: { approved?: unknown[] };
  } = {};
  try {
    config = JSON.parse(await Deno.readTextFile(path)) as typeof config;
  } catch { /* never run before */ }
  if (config.hasCompletedOnboarding !== true) return "onboarding dialog";
  const key = env.ANTHROPIC_API_KEY;
  if (key && !config.customApiKeyResponses?.approved?.includes(key.slice(-20))) return "API key dialog";
  const trusted = Object.entries(config.projects ?? {}).some(([dir, project]) =>
    project?.hasTrustDialogAccepted === true && (cwd === dir || cwd.startsWith(`${dir}/`))
  );
  return trusted || env.CLAUDE_CODE_SANDBOXED === "1" ? "start dialog" : "trust dialog";
}
