import { type Clock, delay } from "../../base/clock.ts";
import { RpcError, type RpcLink } from "./rpc.ts";
import type { Turn } from "./thread.ts";

/** Turns looked at; what was delivered earlier has been settled long ago. */
const TURNS = 50;
const TRANSIENT = -32601;
const TRANSIENT_TRIES = 20;
const TRANSIENT_MS = 50;

/** A thread as the app-server describes it, as far as it is read here. */
export interface ThreadInfo {
  id: string;
  status: unknown;
  ephemeral?: boolean;
  threadSource?: string | null;
  parentThreadId?: string | null;
}

/** Answer to `thread/start` and `thread/resume`. */
export interface OpenedThread {
  thread: ThreadInfo;
  approvalPolicy?: unknown;
  sandbox?: unknown;
}

/** The approval mode of an opened thread in the words of `thread/settings/update`. */
export function modeOf({ approvalPolicy, sandbox }: OpenedThread): Record<string, unknown> | null {
  return approvalPolicy === undefined || sandbox === undefined
    ? null
    : { approvalPolicy, sandboxPolicy: sandbox };
}

/** A message that waits in a thread's queue. */
export interface QueueEntry {
  id: string;
  clientUserMessageId: string;
}

/** True when the server does not know the thread, or has nothing of it that could be taken up. */
export function isGone(error: unknown): boolean {
  return error instanceof RpcError && /no rollout|not found|not loaded/i.test(error.message);
}

/** True when the server cannot make sense of what it was asked, such as of an id. */
export function isBadRequest({ rpcCode }: RpcError): boolean {
  return rpcCode === -32600 || rpcCode === -32602;
}

/** Right after a turn began the answer may be -32601 for a moment (0.169.0, measured). */
async function patient<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  for (let attempt = 0;; attempt++) {
    try {
      return await ask();
    } catch (error) {
      const transient = error instanceof RpcError && error.rpcCode === TRANSIENT;
      if (!transient || attempt >= TRANSIENT_TRIES) throw error;
      await delay(clock, TRANSIENT_MS);
    }
  }
}

/** Subscribes to a thread; what waits in its queue begins when the server had not loaded it. */
export async function resumeThread(
  rpc: RpcLink,
  clock: Clock,
  threadId: string,
  settings: Record<string, unknown> = {},
): Promise<OpenedThread> {
  const params = { threadId, excludeTurns: true, ...settings };
  return await patient(clock, () => rpc.request<OpenedThread>("thread/resume", params));
}

/** The newest turns of a thread with all their items, newest first; none when the server does not know it. */
export async function listTurns(rpc: RpcLink, clock: Clock, threadId: string): Promise<Turn[]> {
  const params = { threadId, limit: TURNS, itemsView: "full" };
  try {
    return (await patient(clock, () => rpc.request<{ data: Turn[] }>("thread/turns/list", params))).data;
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** What waits in a thread's queue; nothing when the server does not know it. */
export async function listQueue(rpc: RpcLink, threadId: string): Promise<QueueEntry[]> {
  try {
    return (await rpc.request<{ data?: QueueEntry[] }>("thread/queue/list", { threadId })).data ?? [];
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Takes a message out of a queue; true when it was there and will not run. */
export async function unqueue(rpc: RpcLink, threadId: string, entry: QueueEntry): Promise<boolean> {
  const params = { threadId, queuedSubmissionId: entry.id };
  return (await rpc.request<{ deleted?: boolean }>("thread/queue/delete", params)).deleted === true;
}
