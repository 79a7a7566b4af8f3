import { join } from "@std/path";
import type { Activity } from "../contract.ts";
import { configDir } from "./transcript.ts";

/** What Claude Code says of itself in `sessions/<pid>.json` (2.1.330; also right after Esc, which fires no hook). */
export interface SessionInfo {
  path: string;
  pid: number;
  sessionId: string;
  activity: Activity;
  /** Where it listens, null for versions without a session socket. */
  socketPath: string | null;
}

/** How a launch's own session is told from others of the machine. */
export interface SessionMark {
  /** Of the started process; a wrapper's child has another one. */
  pid: number;
  socketPath: string | null;
  /** The conversation it was started with, and not before which time (epoch ms). */
  sessionId: string;
  startedAt: number;
}

/** Finds the session of a launch, or null while there is none: the file is written only after onboarding and trust. */
export async function findSession(
  env: Readonly<Record<string, string>>,
  mark: SessionMark,
): Promise<SessionInfo | null> {
  const dir = join(configDir(env), "sessions");
  // The usual case: the file is named after the process that was started.
  const usual = await readSession(join(dir, `${mark.pid}.json`), mark.startedAt);
  if (usual !== null) return usual;
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (!/^\d+\.json$/.test(entry.name)) continue;
      const path = join(dir, entry.name);
      const session = await readSession(path, mark.startedAt);
      if (session === null) continue;
      if (
        mark.socketPath !== null
          ? session.socketPath === mark.socketPath
          : session.sessionId === mark.sessionId
      ) {
        return session;
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return null;
}

/** Reads one session file; null when it is gone, half-written, or of a session that started before `since` (epoch ms). */
export async function readSession(path: string, since = -Infinity): Promise<SessionInfo | null> {
  let value: Record<string, unknown> | null;
  try {
    value = JSON.parse(await Deno.readTextFile(path)) as Record<string, unknown> | null;
  } catch {
    return null;
  }
  if (typeof value?.sessionId !== "string" || typeof value.pid !== "number") return null;
  if (typeof value.startedAt === "number" && value.startedAt < since) return null;
  const { status, messagingSocketPath } = value;
  return {
    path,
    pid: value.pid,
    sessionId: value.sessionId,
    // `shell` is idle with a background task, and a plugin's monitor is one.
    activity: status === "busy" ? "busy" : status === "waiting" ? "approval" : "idle",
    socketPath: typeof messagingSocketPath === "string" ? messagingSocketPath : null,
  };
}
