import { TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf, RunnerError } from "../../base/errors.ts";
import type { ExitStatus } from "../../process/contract.ts";
import { ConversationMemory } from "../conversation_memory.ts";
import type {
  Delivery,
  ProbeResult,
  ProviderExit,
  ProviderLaunch,
  ProviderPorts,
  ProviderSession,
} from "../contract.ts";
import { splitArguments } from "./arguments.ts";
import { isGone } from "./calls.ts";
import { Connection } from "./connection.ts";
import { Conversations } from "./conversations.ts";
import { ThreadDesk } from "./desk.ts";
import { DynamicTools } from "./dynamic_tools.ts";
import type { HeadStart } from "./head_start.ts";
import { Moves } from "./moves.ts";
import { probeThreads } from "./probe.ts";
import { RpcError, type RpcLink, UNANSWERED } from "./rpc.ts";
import type { Address, AppServer } from "./server.ts";
import { declineRequest } from "./server_requests.ts";
import type { CodexTerminal } from "./terminal.ts";
import type { CodexThread } from "./thread.ts";
import { wholeReason } from "../reason.ts";

const INTERRUPT_MS = 1_000;
const TERM_MS = 1_000;
/** Longest time a probe looks for an answer; the runner's own deadline is a little later. */
const PROBE_MS = 28_000;
/** Longest time a TUI may take to open the conversation; it takes 0.35 s (0.169.0). */
const TAKE_UP_MS = 5_000;
/** Longest time a delivery waits for a move of the person's to be followed. */
const MOVING_MS = 10_000;
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
  readonly #conversations: Conversations;
  readonly #memory: ConversationMemory;
  readonly #desk: ThreadDesk;
  readonly #moves: Moves;
  readonly #tools: DynamicTools;
  readonly #over = new AbortController();
  readonly exited: Promise<ProviderExit>;
  readonly #stuck = new Set<string>();
  #connection: Connection | null = null;
  #url = "";
  /** Why the server was ended although nobody asked for it. */
  #useless: string | null = null;
  #ready = false;

  static async start(
    launch: ProviderLaunch,
    ports: ProviderPorts,
    terminal: CodexTerminal,
    headStart: HeadStart,
  ): Promise<CodexSession> {
    const { server, address } = await headStart.take(launch, ports);
    return new CodexSession(server, launch, ports, terminal, address);
  }

  private constructor(
    server: AppServer,
    launch: ProviderLaunch,
    ports: ProviderPorts,
    terminal: CodexTerminal,
    address: Address,
  ) {
    this.#server = server;
    this.#launch = launch;
    this.#ports = ports;
    this.#terminal = terminal;
    this.#address = address;
    const memory = this.#memory = new ConversationMemory(launch.stateDir);
    const conversations = this.#conversations = new Conversations({
      interactive: !launch.headless,
      emit: (event) => ports.emit(event),
    });
    const args = splitArguments(launch.args);
    const ready = () => this.#ready;
    const tools = this.#tools = new DynamicTools(launch.tools, ports.log);
    const desk = this.#desk = new ThreadDesk({ launch, ports, args, conversations, memory, tools, ready });
    const over = this.#over.signal;
    this.#moves = new Moves({ ports, conversations, desk, terminal, over, link: () => this.#link(over) });
    const first = launch.opening ? args.resume ?? launch.resume : launch.resume;
    if (first !== null) this.#conversations.turnTo(first).assumePaused();
    this.exited = server.child.exited.then(async (status) => {
      this.#over.abort(new RunnerError("E_RPC", "codex ended"));
      this.#tools.stop();
      this.#connection?.close();
      // Its shell commands are in sessions of their own and outlive a server that was killed (measured).
      await server.child.stop({ graceMs: 0 });
      await server.drained;
      if (server.portTaken()) await terminal.portTaken();
      const lastWords = this.#useless ?? server.lastWords();
      return status.code === 0 || lastWords === "" ? status : { ...status, lastWords };
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
    const { clock, random, log } = this.#ports;
    this.#terminal.listening(this.#url, this.#address.token);
    this.#connection = new Connection({
      url: this.#url,
      token: this.#address.token,
      version: this.#launch.version,
      clock,
      log,
      random,
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
    this.#useless ??= wholeReason(reason);
    void this.#server.child.stop({ graceMs: 0 });
  }

  /** On a fresh link: the conversation, then whatever was missed, then the terminal. */
  async #up(rpc: RpcLink, again: boolean): Promise<void> {
    const current = await this.#desk.open(rpc);
    for (const thread of this.#conversations.all) {
      if (thread !== current) await this.#desk.subscribeOrDrop(rpc, thread);
      if (again) await this.#desk.catchUp(rpc, thread);
    }
    this.#conversations.changed();
    const fault = this.#ready ? null : await this.#loginFault(rpc);
    if (!this.#launch.headless) {
      if (again) await this.#moves.find(rpc);
      await this.#show(current);
    }
    if (this.#ready || !this.#running) return;
    this.#ready = true;
    this.#ports.emit({ type: "ready", resume: current.id });
    // Not before: what is wrong with a provider is wrong with one that is ready.
    if (fault !== null) this.#ports.emit({ type: "fault", reason: fault });
    // What waited in the queue has begun with the resume, before anybody listened.
    this.#ports.emit({ type: "activity", activity: this.#conversations.activity });
  }

  /**
   * Opens the TUI and waits until it has taken the conversation up. A turn that begins before is shown as part of the
   * past: the TUI takes itself for idle, and the person's Esc does nothing (0.169.0, measured).
   */
  async #show({ id: threadId }: CodexThread): Promise<void> {
    const takenUp = this.#conversations.takenUp(threadId);
    const opened = await this.#terminal.show({
      url: this.#url,
      threadId,
      launch: this.#launch,
      ports: this.#ports,
      failed: (status) => this.#giveUp(`its terminal ended (${status.signal ?? status.code})`),
    });
    if (opened) await withDeadline(this.#ports.clock, TAKE_UP_MS, Promise.race([takenUp, this.exited]));
  }

  async #loginFault(rpc: RpcLink): Promise<string | null> {
    const account = await rpc.request<{ account: unknown; requiresOpenaiAuth?: boolean }>("account/read", {});
    return account.requiresOpenaiAuth === true && account.account === null
      ? "codex is not logged in; run codex login"
      : null;
  }

  #asked(method: string, params: Record<string, unknown>): unknown {
    // Only a thread that we began has such tools, and the TUI leaves their calls to us (0.169.0, measured).
    if (method === "item/tool/call") return this.#tools.answer(params) ?? declineRequest(method);
    // Left to the person at the TUI; the answer given there settles the request on the server.
    if (!this.#launch.headless) return UNANSWERED;
    this.#ports.log.warn("declined, nobody can answer", { method, threadId: String(params.threadId ?? "") });
    return declineRequest(method);
  }

  #notified(method: string, params: Record<string, unknown>): void {
    this.#moves.follow(this.#conversations.take(method, params));
    if (method !== "turn/completed") return;
    this.#tools.ended(String((params.turn as { id?: unknown } | undefined)?.id));
    const thread = this.#conversations.all.find((each) => each.id === params.threadId);
    const rpc = this.#connection?.now;
    if (thread?.paused === true && rpc) void this.#desk.startQueue(rpc, thread);
  }

  #link(signal: AbortSignal): Promise<RpcLink> {
    return this.#connection?.link(signal) ??
      Promise.reject(new RunnerError("E_RPC", "the link to codex is down"));
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await withDeadline(this.#ports.clock, MOVING_MS, this.#moves.settled);
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
            reason: wholeReason(error.message),
          });
        }
        if (attempt > 0 || !isGone(error)) throw error;
        // Unloaded by the server, which it does with threads that rest.
        await this.#desk.subscribe(rpc, thread);
        continue;
      }
      if (thread.paused) await this.#desk.startQueue(rpc, thread);
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
            startQueue: (thread) => this.#desk.startQueue(usable, thread),
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
