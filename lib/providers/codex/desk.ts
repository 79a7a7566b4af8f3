import { messageOf, shown } from "../../base/errors.ts";
import type { ConversationMemory } from "../conversation_memory.ts";
import type { ProviderLaunch, ProviderPorts } from "../contract.ts";
import { approvalSettings, type ThreadArguments } from "./arguments.ts";
import {
  isBadRequest,
  isGone,
  listQueue,
  listTurns,
  modeOf,
  type OpenedThread,
  resumeThread,
  unqueue,
} from "./calls.ts";
import type { Conversations } from "./conversations.ts";
import { RpcError, type RpcLink } from "./rpc.ts";
import type { DynamicTools } from "./dynamic_tools.ts";
import type { CodexThread } from "./thread.ts";
import { wholeReason } from "../reason.ts";

/** What the desk works with. */
export interface DeskOptions {
  launch: ProviderLaunch;
  ports: ProviderPorts;
  args: ThreadArguments;
  conversations: Conversations;
  memory: ConversationMemory;
  tools: DynamicTools;
  /** True once the runner was told that the conversation is open. */
  ready(): boolean;
}

/**
 * Opens conversations at one app-server (0.169.0) and keeps them subscribed: begins or resumes, makes up for what was
 * missed, starts a queue that stands still. Holds no link: each call is told over which one. Calls reject when the
 * server cannot be asked.
 */
export class ThreadDesk {
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #args: ThreadArguments;
  readonly #conversations: Conversations;
  readonly #memory: ConversationMemory;
  readonly #tools: DynamicTools;
  readonly #ready: () => boolean;
  /** The approval mode as the server understood it for our own thread. */
  #mode: Record<string, unknown> | null = null;

  constructor({ launch, ports, args, conversations, memory, tools, ready }: DeskOptions) {
    this.#launch = launch;
    this.#ports = ports;
    this.#args = args;
    this.#conversations = conversations;
    this.#memory = memory;
    this.#tools = tools;
    this.#ready = ready;
  }

  /** Takes the current conversation up, or begins one. */
  async open(rpc: RpcLink): Promise<CodexThread> {
    const settings = {
      cwd: this.#launch.cwd,
      ...approvalSettings(this.#launch.approval),
      ...(this.#args.model === null ? {} : { model: this.#args.model }),
    };
    const known = this.#conversations.current;
    const thread = known === null ? null : await this.#takeUp(rpc, known, settings);
    return thread ?? await this.#begin(rpc, settings);
  }

  /** Null when the server does not have it any more; one that the person named has to be there. */
  async #takeUp(
    rpc: RpcLink,
    known: CodexThread,
    settings: Record<string, unknown>,
  ): Promise<CodexThread | null> {
    try {
      await this.subscribe(rpc, known, settings);
      return known;
    } catch (error) {
      if (this.#isNamed(known) && error instanceof RpcError && (isGone(error) || isBadRequest(error))) {
        const reason = `codex has no conversation "${shown(known.id)}" (${
          wholeReason(error.message)
        }). use --conversation new, or last`;
        this.#ports.emit({ type: "refused", reason });
        throw error;
      }
      if (!isGone(error)) throw error;
      this.#ports.log.warn("the conversation is gone, a new one begins", { threadId: known.id });
      this.#conversations.drop(known);
      return null;
    }
  }

  #isNamed({ id }: CodexThread): boolean {
    return this.#launch.opening && !this.#ready() &&
      (id === this.#args.resume || id === this.#launch.conversation);
  }

  async #begin(rpc: RpcLink, settings: Record<string, unknown>): Promise<CodexThread> {
    const started = await rpc.request<OpenedThread>("thread/start", {
      ...settings,
      ...this.#tools.settings,
    });
    const { thread } = started;
    this.#mode = modeOf(started);
    const begun = this.#conversations.turnTo(thread.id);
    this.#memory.note(thread.id);
    await this.#name(rpc, thread.id);
    if (this.#ready()) this.#ports.emit({ type: "conversation", resume: thread.id });
    return begun;
  }

  /** Makes the thread's file, without which it could not be resumed before its first turn (measured). */
  async #name(rpc: RpcLink, threadId: string): Promise<void> {
    const name = this.#launch.label ?? this.#launch.agentId;
    await rpc.request("thread/name/set", { threadId, name });
  }

  /** Hears of a thread from now on; with `settings` they hold in it. */
  async subscribe(rpc: RpcLink, thread: CodexThread, settings: Record<string, unknown> = {}): Promise<void> {
    if (!this.#ready()) await this.#dropUnwanted(rpc, thread.id);
    await this.#conversations.resuming(thread.id, async () => {
      const resumed = await resumeThread(rpc, this.#ports.clock, thread.id, settings);
      if ("approvalPolicy" in settings) this.#mode = modeOf(resumed);
      thread.status(resumed.thread.status);
      this.#conversations.changed();
    });
  }

  /** What is queued begins with the resume, so work that may be another agent's by now is taken out before. */
  async #dropUnwanted(rpc: RpcLink, threadId: string): Promise<void> {
    const unwanted = new Set(this.#launch.unwanted);
    if (unwanted.size === 0) return;
    for (const entry of await listQueue(rpc, threadId)) {
      if (unwanted.has(entry.clientUserMessageId)) await unqueue(rpc, threadId, entry);
    }
  }

  /** The same for a thread that may be gone, which is then followed no longer. */
  async subscribeOrDrop(rpc: RpcLink, thread: CodexThread): Promise<void> {
    try {
      await this.subscribe(rpc, thread);
    } catch (error) {
      if (!isGone(error)) throw error;
      this.#conversations.drop(thread);
    }
  }

  /** Takes what happened in a thread while nobody listened, and lets its queue go on. */
  async catchUp(rpc: RpcLink, thread: CodexThread): Promise<void> {
    thread.catchUp(await listTurns(rpc, this.#ports.clock, thread.id));
    if (thread.activity === "idle" && thread.open.size > 0) void this.startQueue(rpc, thread);
  }

  /** Somebody stopped a turn, not the work that waits behind it; an empty queue refuses, which is fine. Never rejects. */
  async startQueue(rpc: RpcLink, thread: CodexThread): Promise<void> {
    try {
      await rpc.request("thread/queue/start", { threadId: thread.id });
    } catch (error) {
      this.#ports.log.debug("the queue was not started", { error: messageOf(error) });
    }
  }

  /** The approval mode of the run holds in a conversation that the TUI began, which it does with settings of its own. */
  async applyMode(rpc: RpcLink, threadId: string): Promise<void> {
    if (this.#mode !== null) await rpc.request("thread/settings/update", { threadId, ...this.#mode });
  }

  /** Subscribes to a conversation of the person's; one without a turn gets a name, which makes it a file. */
  async take(rpc: RpcLink, threadId: string): Promise<void> {
    const thread = this.#conversations.all.find((each) => each.id === threadId);
    if (thread === undefined) return;
    try {
      await this.subscribe(rpc, thread);
    } catch (error) {
      if (!isGone(error)) throw error;
      await this.#name(rpc, threadId);
      await this.subscribe(rpc, thread);
    }
    await this.catchUp(rpc, thread);
  }
}
