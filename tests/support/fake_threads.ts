/** An item as the app-server shows it. */
export interface StoredItem {
  type: string;
  id: string;
  clientId?: string | null;
  text?: string;
  content?: { type: string; text: string }[];
  [more: string]: unknown;
}

/** A turn with its items. */
export interface StoredTurn {
  id: string;
  status: "inProgress" | "completed" | "interrupted" | "failed";
  error: { message: string; codexErrorInfo?: unknown } | null;
  items: StoredItem[];
}

/** What the app-server remembers of a thread across its own death: the rollout and the queue. */
export interface StoredThread {
  id: string;
  name: string | null;
  threadSource: string | null;
  ephemeral: boolean;
  /** The thread has a file: it had a turn or was named. Without one it cannot be resumed. */
  rollout: boolean;
  /** The queue stands still since an interrupt. */
  paused: boolean;
  turns: StoredTurn[];
  queue: { id: string; input: { text: string }[]; clientUserMessageId: string }[];
}

/** Threads of a fake app-server, in memory or in a file that outlives a SIGKILL. */
export class ThreadStore {
  readonly threads = new Map<string, StoredThread>();
  readonly #path: string | null;
  #created = 0;

  constructor(path: string | null = null) {
    this.#path = path;
    if (path === null) return;
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      throw error;
    }
    for (const thread of JSON.parse(text) as StoredThread[]) this.threads.set(thread.id, thread);
    this.crashed();
  }

  /** What a server finds after the death of the one before: turns that were under way were cut off. */
  crashed(): void {
    for (const thread of this.threads.values()) {
      // A queue that stood still starts by itself on the next resume (measured).
      thread.paused = false;
      for (const turn of thread.turns) if (turn.status === "inProgress") turn.status = "interrupted";
      if (!thread.rollout || thread.ephemeral) this.threads.delete(thread.id);
    }
  }

  /** Begins a thread; ids rise with time, as UUIDv7 do. */
  create(options: { threadSource: string | null; ephemeral: boolean }): StoredThread {
    const time = (Date.now() * 16 + this.#created++ % 16).toString(16).padStart(13, "0");
    const id = `${time.slice(0, 8)}-${time.slice(8, 12)}-7${crypto.randomUUID().slice(15)}`;
    const thread = { id, name: null, rollout: false, paused: false, turns: [], queue: [], ...options };
    this.threads.set(id, thread);
    return thread;
  }

  /** Writes the file in one step. */
  save(): void {
    if (this.#path === null) return;
    Deno.writeTextFileSync(this.#path + ".new", JSON.stringify([...this.threads.values()]));
    Deno.renameSync(this.#path + ".new", this.#path);
  }
}
