import { messageOf } from "../../base/errors.ts";
import type { ProviderPorts } from "../contract.ts";
import type { ThreadInfo } from "./calls.ts";
import { type Conversations, type Following, isConversation } from "./conversations.ts";
import type { ThreadDesk } from "./desk.ts";
import type { RpcLink } from "./rpc.ts";
import type { CodexTerminal } from "./terminal.ts";

/** Links over which a move is tried before it is let go. */
const TRIES = 5;

/** What following a person takes. */
export interface MovesOptions {
  ports: Pick<ProviderPorts, "emit" | "log">;
  conversations: Conversations;
  desk: ThreadDesk;
  terminal: CodexTerminal;
  /** The next usable link; rejects once the server is over. */
  link(): Promise<RpcLink>;
  /** Aborts when the server is over. */
  over: AbortSignal;
}

/**
 * Follows the person from conversation to conversation in Codex's TUI, so that messages go where they look. Moves are
 * followed one after another, each again on the next link when one drops.
 */
export class Moves {
  readonly #options: MovesOptions;
  #settled: Promise<void> = Promise.resolve();

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** Resolves once every move so far was followed or let go. Never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Does what follows from a notification. */
  follow(following: Following): void {
    const { conversations, desk } = this.#options;
    switch (following.type) {
      case "none":
        return;
      case "returned":
        return this.#turnTo(following.thread.id, null);
      case "begun":
        return this.#turnTo(following.threadId, async (rpc) => {
          await desk.applyMode(rpc, following.threadId);
          await desk.take(rpc, following.threadId);
        });
      case "unknown": {
        const { threadId } = following;
        // Until it is known what it is; its further notifications are not looked at again.
        conversations.ignore(threadId);
        this.#move(async (rpc) => {
          const { thread } = await rpc.request<{ thread: ThreadInfo }>("thread/read", { threadId });
          if (!isConversation(thread)) return;
          this.#turnTo(threadId, (again) => desk.take(again, threadId));
          conversations.current?.assumePaused();
        });
      }
    }
  }

  /** Looks for a conversation that the person began while the link was down. Ids rise with time (UUIDv7). */
  async find(rpc: RpcLink): Promise<void> {
    const { data } = await rpc.request<{ data: string[] }>("thread/loaded/list", {});
    for (const threadId of data.toSorted()) {
      if (!this.#options.conversations.knows(threadId)) this.follow({ type: "unknown", threadId });
    }
  }

  /** The person looks at this conversation now: messages go there. */
  #turnTo(threadId: string, take: ((rpc: RpcLink) => Promise<void>) | null): void {
    const { conversations, terminal, ports } = this.#options;
    conversations.turnTo(threadId);
    terminal.looksAt(threadId);
    ports.log.info("the person turned to another conversation", { threadId });
    ports.emit({ type: "conversation", resume: threadId });
    if (take !== null) this.#move(take);
  }

  #move(work: (rpc: RpcLink) => Promise<void>): void {
    const { link, over, ports } = this.#options;
    this.#settled = this.#settled.then(async () => {
      for (let attempt = 0; attempt < TRIES && !over.aborted; attempt++) {
        try {
          return await work(await link());
        } catch (error) {
          if (over.aborted) return;
          ports.log.debug("the person's move cannot be followed yet", { error: messageOf(error) });
        }
      }
    });
  }
}
