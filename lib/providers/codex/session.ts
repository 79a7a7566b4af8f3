import { TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { Delivery, ProbeResult, ProviderLaunch, ProviderPorts, ProviderSession } from "../contract.ts";
import { approvalSettings, splitArguments, type ThreadArguments } from "./arguments.ts";
import {
  isGone,
  listQueue,
  listTurns,
  modeOf,
  type OpenedThread,
  resumeThread,
  type ThreadInfo,
  unqueue,
} from "./calls.ts";
import { Connection } from "./connection.ts";
import { Conversations, type Following, isConversation } from "./conversations.ts";
import { ThreadMemory } from "./memory.ts";
import { probeThreads } from "./probe.ts";
import { RpcError, type RpcLink, UNANSWERED } from "./rpc.ts";
import type { HeadStart } from "./head_start.ts";
import type { Address, AppServer } from "./server.ts";
import { declineRequest } from "./server_requests.ts";
import type { CodexTerminal } from "./terminal.ts";
import type { CodexThread } from "./thread.ts";

const INTERRUPT_MS = 1_000;
const TERM_MS = 1_000;
/** Longest time a probe looks for an answer; the runner's own deadline is a little later. */
const PROBE_MS = 28_000;
/** Longest time a delivery waits for a move of the person's to be followed. */
const TURNING_MS = 10_000;
const TOO_LARGE = -32602;

/**
 * One incarnation of Codex (0.169.0): an app-server on a loopback port with a capability token, and the conversation on
 * it. In a terminal the TUI is a second client of the same thread; the person's moves in it are followed, and approvals
 * are theirs to answer there.
 */
export class CodexSession implements ProviderSession {
  readonly #server: AppServer;
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #terminal: CodexTerminal;
  readonly #address: Address;
  readonly #args: ThreadArguments;
  readonly #conversations: Conversations;
  readonly #memory: ThreadMemory;
  readonly #over = new AbortController();
  readonly exited: Promise<ExitStatus>;
  readonly #stuck = new Set<string>();
  #connection: Connection | null = null;
  /** The approval mode as the server understood it for our own thread. */
  #mode: Record<string, unknown> | null = null;
  #url = "";
  #ready = false;
  /** Work on the person's last move; a delivery waits for it. */
  #turning: Promise<unknown> = Promise.resolve();

  static async start(
    launch: ProviderLaunch,
    ports: ProviderPorts,
    terminal: CodexTerminal,
    headStart: HeadStart,
  ): Promise<CodexSession> {
    const args = splitArguments(launch.args);
    const { server, address } = await headStart.take(launch, ports);
    return new CodexSession(server, launch, ports, terminal, address, args);
  }

  private constructor(
    server: AppServer,
    launch: ProviderLaunch,
    ports: ProviderPorts,
    terminal: CodexTerminal,
    address: Address,
    args: ThreadArguments,
  ) {
    this.#server = server;
    this.#launch = launch;
    this.#ports = ports;
    this.#terminal = terminal;
    this.#address = address;
    this.#args = args;
    this.#memory = new ThreadMemory(launch.stateDir);
    this.#conversations = new Conversations({
      interactive: !launch.headless,
      emit: (event) => ports.emit(event),
    });
    if (launch.resume !== null) this.#conversations.turnTo(launch.resume).assumePaused();
    this.exited = server.child.exited.then(async (status) => {
      this.#over.abort(new RunnerError("E_RPC", "codex ended"));
      this.#connection?.close();
      // Its shell commands are in sessions of their own and outlive a server that was killed (measured).
      await server.child.stop({ graceMs: 0 });
      await server.drained;
      if (server.portTaken()) await terminal.portTaken();
      if (status.code !== 0 && server.lastWords() !== "") {
        ports.log.warn("codex ended", { code: status.code, last: server.lastWords() });
      }
      return status;
    });
    void this.#begin();
  }

  get pid(): number {
    return this.#server.child.pid;
  }

  get #running(): boolean {
    return !this.#over.signal.aborted;
  }

  async #begin(): Promise<void> {
    try {
      this.#url = await this.#server.url;
    } catch (error) {
      return this.#giveUp(messageOf(error));
    }
    if (!this.#running) return;
    const { clock, log } = this.#ports;
    this.#terminal.listening(this.#url, this.#address.token);
    this.#connection = new Connection({
      url: this.#url,
      token: this.#address.token,
      version: this.#launch.version,
      clock,
      log,
      random: Math.random,
      events: {
        notification: (method, params) => this.#notified(method, params),
        request: (method, params) => this.#asked(method, params),
        hung: (method) => this.#giveUp(`no answer to ${method}`),
      },
      up: (rpc, again) => this.#up(rpc, again),
      lost: (reason) => this.#giveUp(reason),
    });
  }

  /** A server that is of no use is ended, which is what the supervisor acts on. */
  #giveUp(reason: string): void {
    if (!this.#running) return;
    this.#ports.log.warn("codex cannot be used", { error: reason });
    void this.#server.child.stop({ graceMs: 0 });
  }

  /** On a fresh link: the conversation, then whatever was missed, then the terminal. */
  async #up(rpc: RpcLink, again: boolean): Promise<void> {
    const current = await this.#openThread(rpc);
    for (const thread of this.#conversations.all) {
      if (thread !== current) await this.#subscribeOrDrop(rpc, thread);
      if (again) await this.#catchUp(rpc, thread);
    }
    this.#conversations.changed();
    if (!this.#ready) await this.#checkLogin(rpc);
    if (again) await this.#findMoves(rpc);
    if (!this.#launch.headless) await this.#show(current.id);
    if (this.#ready || !this.#running) return;
    this.#ready = true;
    this.#ports.emit({ type: "ready", resume: current.id });
    // What waited in the queue has begun with the resume, before anybody listened.
    this.#ports.emit({ type: "activity", activity: this.#conversations.activity });
  }

  #show(threadId: string): Promise<void> {
    return this.#terminal.show({
      url: this.#url,
      threadId,
      launch: this.#launch,
      ports: this.#ports,
      failed: (status) => this.#giveUp(`its terminal ended (${status.signal ?? status.code})`),
    });
  }

  /** Takes the conversation up, or begins one. */
  async #openThread(rpc: RpcLink): Promise<CodexThread> {
    const settings = {
      cwd: this.#launch.cwd,
      ...approvalSettings(this.#launch.approval),
      ...(this.#args.model === null ? {} : { model: this.#args.model }),
    };
    const known = this.#conversations.current;
    if (known !== null) {
      try {
        return await this.#subscribe(rpc, known, settings);
      } catch (error) {
        if (!isGone(error)) throw error;
        this.#ports.log.warn("the conversation is gone, a new one begins", { threadId: known.id });
        this.#conversations.drop(known);
      }
    }
    const started = await rpc.request<OpenedThread>("thread/start", settings);
    const { thread } = started;
    this.#mode = modeOf(started);
    const begun = this.#conversations.turnTo(thread.id);
    this.#memory.note(thread.id);
    await this.#name(rpc, thread.id);
    if (this.#ready) this.#ports.emit({ type: "conversation", resume: thread.id });
    return begun;
  }

  /** Makes the thread's file, without which it could not be resumed before its first turn (measured). */
  async #name(rpc: RpcLink, threadId: string): Promise<void> {
    const name = this.#launch.label ?? this.#launch.agentId;
    await rpc.request("thread/name/set", { threadId, name });
  }

  async #subscribe(
    rpc: RpcLink,
    thread: CodexThread,
    settings: Record<string, unknown> = {},
  ): Promise<CodexThread> {
    if (!this.#ready) await this.#dropUnwanted(rpc, thread.id);
    await this.#conversations.resuming(thread.id, async () => {
      const resumed = await resumeThread(rpc, this.#ports.clock, thread.id, settings);
      if ("approvalPolicy" in settings) this.#mode = modeOf(resumed);
      thread.status(resumed.thread.status);
      this.#conversations.changed();
    });
    return thread;
  }

  /** What is queued begins with the resume, so work that may be another agent's by now is taken out before. */
  async #dropUnwanted(rpc: RpcLink, threadId: string): Promise<void> {
    const unwanted = new Set(this.#launch.unwanted);
    if (unwanted.size === 0) return;
    for (const entry of await listQueue(rpc, threadId)) {
      if (unwanted.has(entry.clientUserMessageId)) await unqueue(rpc, threadId, entry);
    }
  }

  async #subscribeOrDrop(rpc: RpcLink, thread: CodexThread): Promise<void> {
    try {
      await this.#subscribe(rpc, thread);
    } catch (error) {
      if (!isGone(error)) throw error;
      this.#conversations.drop(thread);
    }
  }

  async #catchUp(rpc: RpcLink, thread: CodexThread): Promise<void> {
    thread.catchUp(await listTurns(rpc, this.#ports.clock, thread.id));
    if (thread.activity === "idle" && thread.open.size > 0) void this.#startQueue(rpc, thread);
  }

  /** Somebody stopped a turn, not the work that waits behind it; an empty queue refuses, which is fine. */
  async #startQueue(rpc: RpcLink, thread: CodexThread): Promise<void> {
    try {
      await rpc.request("thread/queue/start", { threadId: thread.id });
    } catch (error) {
      this.#ports.log.debug("the queue was not started", { error: messageOf(error) });
    }
  }

  async #checkLogin(rpc: RpcLink): Promise<void> {
    const account = await rpc.request<{ account: unknown; requiresOpenaiAuth?: boolean }>("account/read", {});
    if (account.requiresOpenaiAuth === true && account.account === null) {
      this.#ports.emit({ type: "fault", reason: "codex is not logged in; run codex login" });
    }
  }

  #asked(method: string, params: Record<string, unknown>): unknown {
    // Left to the person at the TUI; the answer given there settles the request on the server.
    if (!this.#launch.headless) return UNANSWERED;
    this.#ports.log.warn("declined, nobody can answer", { method, threadId: String(params.threadId ?? "") });
    return declineRequest(method);
  }

  #notified(method: string, params: Record<string, unknown>): void {
    this.#follow(this.#conversations.take(method, params));
    if (method !== "turn/completed") return;
    const thread = this.#conversations.all.find((each) => each.id === params.threadId);
    const rpc = this.#connection?.now;
    if (thread?.paused === true && rpc) void this.#startQueue(rpc, thread);
  }

  #follow(following: Following): void {
    switch (following.type) {
      case "none":
        return;
      case "returned":
        return this.#turnTo(following.thread.id, null);
      case "begun":
        return this.#turnTo(following.threadId, async (rpc) => {
          await this.#applyMode(rpc, following.threadId);
          await this.#take(rpc, following.threadId);
        });
      case "unknown": {
        const { threadId } = following;
        // Until it is known what it is; its further notifications are not looked at again.
        this.#conversations.ignore(threadId);
        this.#move(async (rpc) => {
          const { thread } = await rpc.request<{ thread: ThreadInfo }>("thread/read", { threadId });
          if (!isConversation(thread)) return;
          this.#turnTo(threadId, (again) => this.#take(again, threadId));
          this.#conversations.current?.assumePaused();
        });
      }
    }
  }

  /** The person looks at this conversation now: messages go there. */
  #turnTo(threadId: string, take: ((rpc: RpcLink) => Promise<void>) | null): void {
    this.#conversations.turnTo(threadId);
    this.#terminal.looksAt(threadId);
    this.#ports.log.info("the person turned to another conversation", { threadId });
    this.#ports.emit({ type: "conversation", resume: threadId });
    if (take !== null) this.#move(take);
  }

  /** Follows a move of the person's; one after another, and again on the next link when this one drops. */
  #move(work: (rpc: RpcLink) => Promise<void>): void {
    this.#turning = this.#turning.then(async () => {
      for (let attempt = 0; attempt < 5 && this.#running; attempt++) {
        try {
          return await work(await this.#link(this.#over.signal));
        } catch (error) {
          if (!this.#running) return;
          this.#ports.log.debug("the person's move cannot be followed yet", { error: messageOf(error) });
        }
      }
    });
  }

  /** The approval mode of the run holds in a conversation that the TUI began, which it does with settings of its own. */
  async #applyMode(rpc: RpcLink, threadId: string): Promise<void> {
    if (this.#mode !== null) await rpc.request("thread/settings/update", { threadId, ...this.#mode });
  }

  /** Subscribes to a conversation of the person's; one without a turn gets a name, which makes it a file. */
  async #take(rpc: RpcLink, threadId: string): Promise<void> {
    const thread = this.#conversations.all.find((each) => each.id === threadId);
    if (thread === undefined) return;
    try {
      await this.#subscribe(rpc, thread);
    } catch (error) {
      if (!isGone(error)) throw error;
      await this.#name(rpc, threadId);
      await this.#subscribe(rpc, thread);
    }
    await this.#catchUp(rpc, thread);
  }

  /** Looks for a conversation that the person began while the link was down. Ids rise with time (UUIDv7). */
  async #findMoves(rpc: RpcLink): Promise<void> {
    if (this.#launch.headless) return;
    const { data } = await rpc.request<{ data: string[] }>("thread/loaded/list", {});
    for (const threadId of data.toSorted()) {
      if (!this.#conversations.knows(threadId)) this.#follow({ type: "unknown", threadId });
    }
  }

  #link(signal: AbortSignal): Promise<RpcLink> {
    return this.#connection?.link(signal) ??
      Promise.reject(new RunnerError("E_RPC", "the link to codex is down"));
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await withDeadline(this.#ports.clock, TURNING_MS, this.#turning);
    const rpc = await this.#link(signal);
    for (let attempt = 0;; attempt++) {
      const thread = this.#conversations.current!;
      this.#memory.note(thread.id);
      thread.expect(delivery.deliveryId);
      try {
        await rpc.request("thread/queue/add", {
          threadId: thread.id,
          input: [{ type: "text", text: delivery.text }],
          clientUserMessageId: delivery.deliveryId,
        });
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        // Refused: it is not there. Every other failure leaves that open.
        thread.forget(delivery.deliveryId);
        if (error.rpcCode === TOO_LARGE) {
          return this.#ports.emit({
            type: "failed",
            deliveryIds: [delivery.deliveryId],
            failure: "message",
            reason: shown(error.message, 300),
          });
        }
        if (attempt > 0 || !isGone(error)) throw error;
        // Unloaded by the server, which it does with threads that rest.
        await this.#subscribe(rpc, thread);
        continue;
      }
      if (thread.paused) await this.#startQueue(rpc, thread);
      return;
    }
  }

  async probe(deliveryIds: string[], signal: AbortSignal): Promise<Map<string, ProbeResult>> {
    const cancel = new AbortController();
    const cancelTimer = this.#ports.clock.setTimer(
      PROBE_MS,
      () => cancel.abort(new Error("no answer in time")),
    );
    const either = AbortSignal.any([signal, cancel.signal, this.#over.signal]);
    try {
      for (;;) {
        let rpc: RpcLink | null = null;
        try {
          rpc = await this.#link(either);
          const usable = rpc;
          return await probeThreads(usable, this.#ports.clock, deliveryIds, {
            conversations: this.#conversations,
            remembered: this.#memory.ids,
            stuck: this.#stuck,
            startQueue: (thread) => this.#startQueue(usable, thread),
          });
        } catch (error) {
          // A link that dropped says nothing about the messages: the next one is waited for.
          if (!either.aborted && rpc?.over === true) continue;
          // Whatever it was asked before could still happen, after the messages were delivered anew.
          if (cancel.signal.aborted) this.#giveUp("its record did not answer");
          const reason = messageOf(error);
          return new Map(deliveryIds.map((id) => [id, { state: "unknown", reason }]));
        }
      }
    } finally {
      cancelTimer();
    }
  }

  /** Interrupts what runs for us; a turn of the person's in the terminal is theirs. */
  async interrupt(): Promise<void> {
    await this.#interrupt((thread) => this.#launch.headless || thread.holdsDelivery);
  }

  async #interrupt(which: (thread: CodexThread) => boolean): Promise<void> {
    const rpc = this.#connection?.now;
    if (!rpc) return;
    await Promise.all(this.#conversations.all.map(async (thread) => {
      const { id: threadId, turnId } = thread;
      if (turnId === null || !which(thread)) return;
      try {
        await rpc.request("turn/interrupt", { threadId, turnId }, INTERRUPT_MS);
      } catch (error) {
        this.#ports.log.debug("interrupt", { error: messageOf(error) });
      }
    }));
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    const { child } = this.#server;
    if (options.graceful && this.#running) {
      // A server with a running turn only drains at its first signal; the second one ends it (measured).
      await this.#interrupt(() => true);
      this.#connection?.isLast();
      child.signal("SIGTERM");
      const waitMs = Math.min(TERM_MS, options.timeoutMs);
      if (await withDeadline(this.#ports.clock, waitMs, child.exited) === TIMED_OUT) {
        this.#ports.log.debug("codex drains, a second signal ends it");
      }
    }
    return await child.stop({ graceMs: options.graceful ? options.timeoutMs : 0 });
  }
}
