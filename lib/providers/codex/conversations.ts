import type { Activity, ProviderEvent } from "../contract.ts";
import type { ThreadInfo } from "./calls.ts";
import { CodexThread } from "./thread.ts";

/** Threads followed at a time; beyond it the oldest one without an open delivery is let go. */
const FOLLOWED_LIMIT = 8;
/** Threads remembered as none of the person's. */
const OTHERS_LIMIT = 1_000;

/** What follows from a notification. */
export type Following =
  /** Nothing beyond what the thread itself took. */
  | { type: "none" }
  /** The person looks at another conversation, which is followed already. */
  | { type: "returned"; thread: CodexThread }
  /** The person began a conversation. */
  | { type: "begun"; threadId: string }
  /** A thread nobody told of was loaded: the person's, when it turns out to be a conversation. */
  | { type: "unknown"; threadId: string };

const NONE: Following = { type: "none" };

/** True for a conversation of the person's; the TUI's helper threads are ephemeral, sub-agents have a parent. */
export function isConversation(thread: ThreadInfo): boolean {
  return thread.ephemeral !== true && (thread.parentThreadId ?? null) === null;
}

/**
 * Knows the threads of an app-server: which one the person looks at, and those where something of ours is still under
 * way. Pure.
 *
 * How the TUI's moves show to another client (0.169.0, measured): `/new` and `/fork` broadcast `thread/started` with
 * `threadSource: "user"`; `/resume` of a stored thread broadcasts only `thread/status/changed`; `/resume` of a loaded one
 * tells its subscribers `thread/goal/cleared` and nothing else, which is why every conversation stays subscribed.
 */
export class Conversations {
  readonly #interactive: boolean;
  readonly #emit: (event: ProviderEvent) => void;
  readonly #followed = new Map<string, CodexThread>();
  readonly #others = new Set<string>();
  /** Resumes of our own, whose notifications say nothing about the person. */
  readonly #resuming = new Set<string>();
  /** Who waits for another client to take a thread up. */
  readonly #expected = new Map<string, () => void>();
  #current: CodexThread | null = null;
  #activity: Activity = "idle";

  constructor(options: { interactive: boolean; emit(event: ProviderEvent): void }) {
    this.#interactive = options.interactive;
    this.#emit = options.emit;
  }

  /** What the agent is doing. */
  get activity(): Activity {
    return this.#activity;
  }

  /** The conversation that messages go to. */
  get current(): CodexThread | null {
    return this.#current;
  }

  /** All threads that are followed, the current one first. */
  get all(): CodexThread[] {
    const rest = [...this.#followed.values()].filter((thread) => thread !== this.#current);
    return this.#current === null ? rest : [this.#current, ...rest];
  }

  /** The thread that holds an open delivery. */
  holderOf(deliveryId: string): CodexThread | undefined {
    return this.all.find((thread) => thread.open.has(deliveryId));
  }

  /** Makes a thread the current one. */
  turnTo(threadId: string): CodexThread {
    const thread = this.#followed.get(threadId) ?? new CodexThread(this.#emit, threadId, this.#interactive);
    this.#others.delete(threadId);
    this.#followed.set(threadId, thread);
    this.#current = thread;
    for (const each of this.#followed.values()) {
      if (this.#followed.size <= FOLLOWED_LIMIT) break;
      if (each !== thread && each.open.size === 0) this.#followed.delete(each.id);
    }
    this.changed();
    return thread;
  }

  /** The server does not have the thread any more. */
  drop(thread: CodexThread): void {
    this.#followed.delete(thread.id);
    if (this.#current === thread) this.#current = null;
  }

  /** The thread is none of the person's. */
  ignore(threadId: string): void {
    this.#others.add(threadId);
    for (const oldest of this.#others) {
      if (this.#others.size <= OTHERS_LIMIT) break;
      this.#others.delete(oldest);
    }
  }

  knows(threadId: string): boolean {
    return this.#followed.has(threadId) || this.#others.has(threadId);
  }

  /** Runs a resume of our own. */
  async resuming<T>(threadId: string, work: () => Promise<T>): Promise<T> {
    this.#resuming.add(threadId);
    try {
      return await work();
    } finally {
      this.#resuming.delete(threadId);
    }
  }

  /** Resolves when another client takes the thread up next: a TUI that was just opened on it. */
  takenUp(threadId: string): Promise<void> {
    return new Promise((resolve) => {
      this.#expected.set(threadId, () => {
        this.#expected.delete(threadId);
        resolve();
      });
    });
  }

  /** Takes a notification and says what follows from it. */
  take(method: string, params: Record<string, unknown>): Following {
    const info = method === "thread/started" ? params.thread as ThreadInfo : null;
    const threadId = info?.id ?? params.threadId;
    if (typeof threadId !== "string") return NONE;
    const thread = this.#followed.get(threadId);
    if (thread !== undefined) {
      thread.take(method, params);
      this.changed();
      // A goal that is pursued is updated as well; that of an idle thread is not.
      const resumed = method === "thread/goal/cleared" ||
        (method === "thread/goal/updated" && thread.activity === "idle");
      if (!resumed || !this.#interactive || this.#resuming.has(threadId)) return NONE;
      this.#expected.get(threadId)?.();
      return thread === this.#current ? NONE : { type: "returned", thread };
    }
    if (!this.#interactive || this.#others.has(threadId)) return NONE;
    if (info !== null) {
      if (info.threadSource === "user" && isConversation(info)) return { type: "begun", threadId };
      this.ignore(threadId);
    } else if (method === "thread/status/changed") return { type: "unknown", threadId };
    return NONE;
  }

  /** Says what the agent is doing, when that changed: busy while any of its threads works for the person or for us. */
  changed(): void {
    const doing = this.all.filter((thread) => thread === this.#current || thread.open.size > 0)
      .map((thread) => thread.activity);
    const activity = doing.includes("approval") ? "approval" : doing.includes("busy") ? "busy" : "idle";
    if (activity === this.#activity) return;
    this.#activity = activity;
    this.#emit({ type: "activity", activity });
  }
}
