import { createHash } from "node:crypto";
import { lines } from "../../base/bytes.ts";
import { delay, TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import { randomToken } from "../../base/secret.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import type { Delivery, ProbeResult, ProviderLaunch, ProviderPorts, ProviderSession } from "../contract.ts";
import { approvalSettings, serverArguments, splitArguments, type ThreadArguments } from "./arguments.ts";
import { RpcError, RpcLink } from "./rpc.ts";
import { declineRequest } from "./server_requests.ts";
import { CodexThread, probeTurns, type Turn } from "./thread.ts";

const BANNER_MS = 20_000;
const INTERRUPT_MS = 1_000;
const TERM_MS = 1_000;
/** A link that dropped while the server lives must be back in this time. */
const RECONNECT_MS = 10_000;
const TURNS = 50;

/** Notifications nobody needs: evidence comes from items, not from their pieces. */
const QUIET = [
  "item/agentMessage/delta",
  "item/reasoning/textDelta",
  "item/reasoning/summaryTextDelta",
  "item/reasoning/summaryPartAdded",
  "item/commandExecution/outputDelta",
  "item/fileChange/outputDelta",
  "item/mcpToolCall/progress",
  "account/rateLimits/updated",
];

interface QueueEntry {
  id: string;
  clientUserMessageId: string;
}

/** Variable in which the TUI finds the capability token; only its own process has it. */
const TOKEN_VARIABLE = "AGENT_RELAY_CODEX_TOKEN";

/**
 * Codex (0.169.0): its app-server on a loopback port with a capability token, and one thread. In a terminal the TUI is
 * a second client of the same thread: the session ends with it, and approvals are the person's to answer there.
 */
export class CodexSession implements ProviderSession {
  readonly #child: ChildHandle;
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #token: string;
  readonly #args: ThreadArguments;
  readonly exited: Promise<ExitStatus>;
  #url = "";
  #rpc: RpcLink | null = null;
  #thread: CodexThread | null = null;
  #threadId: string | null;
  #phase: "running" | "stopping" | "ended" = "running";
  #lastError = "";
  #tui: ChildHandle | null = null;

  static async start(launch: ProviderLaunch, ports: ProviderPorts): Promise<CodexSession> {
    const args = splitArguments(launch.args);
    const token = randomToken();
    const hash = createHash("sha256").update(token).digest("hex");
    const child = await ports.processes.spawn({
      command: launch.command,
      args: serverArguments(args.serverArgs, hash, 0),
      cwd: launch.cwd,
      env: launch.env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      ownGroup: true,
    });
    return new CodexSession(child, launch, ports, token, args);
  }

  private constructor(
    child: ChildHandle,
    launch: ProviderLaunch,
    ports: ProviderPorts,
    token: string,
    args: ThreadArguments,
  ) {
    this.#child = child;
    this.#launch = launch;
    this.#ports = ports;
    this.#token = token;
    this.#args = args;
    this.#threadId = launch.resume;
    const banner = Promise.withResolvers<string>();
    const errors = this.#readErrors(child.stderr!, banner.resolve);
    const tuiEnded = Promise.withResolvers<ExitStatus>();
    this.exited = Promise.race([child.exited, tuiEnded.promise]).then(async (status) => {
      // The person quit, or one of the two died: neither is of use without the other.
      this.#phase = "ended";
      this.#rpc?.close();
      await Promise.all([this.#tui?.stop({ graceMs: TERM_MS }), child.stop({ graceMs: TERM_MS })]);
      await errors;
      if (status.code !== 0 && this.#lastError !== "") {
        ports.log.warn("codex ended", { code: status.code, last: this.#lastError });
      }
      return status;
    });
    void this.#begin(banner.promise, tuiEnded.resolve);
  }

  get pid(): number {
    return this.#child.pid;
  }

  async #readErrors(stderr: ReadableStream<Uint8Array>, banner: (url: string) => void): Promise<void> {
    try {
      for await (const line of lines(stderr, { maxLineBytes: 64 * 1024 })) {
        if (line.kind !== "line" || line.text.trim() === "") continue;
        const url = /listening on: (ws:\/\/127\.0\.0\.1:\d+)/.exec(line.text)?.[1];
        if (url !== undefined) banner(url);
        else this.#lastError = shown(line.text, 300);
        this.#ports.log.debug("codex stderr", { line: shown(line.text, 300) });
      }
    } catch { /* the process ended */ }
  }

  /** Banner, link, thread; a start that fails ends the process, which is what the supervisor acts on. */
  async #begin(banner: Promise<string>, tuiEnded: (status: ExitStatus) => void): Promise<void> {
    try {
      const gone = this.#child.exited.then(() => null);
      const url = await withDeadline(this.#ports.clock, BANNER_MS, Promise.race([banner, gone]));
      if (url === TIMED_OUT || url === null) {
        throw new RunnerError("E_RPC", "codex app-server did not say where it listens");
      }
      this.#url = url;
      await this.#connect();
      await this.#checkLogin();
      if (!this.#launch.headless) await this.#openTui(tuiEnded);
      this.#ports.emit({ type: "ready", resume: this.#threadId });
    } catch (error) {
      if (this.#phase !== "running") return;
      this.#ports.log.warn("codex cannot be used", { error: messageOf(error) });
      await this.#child.stop({ graceMs: 0 });
    }
  }

  /** Starts the TUI on the runner's own thread. Without -C it asks for no trust and works in the server's directory. */
  async #openTui(ended: (status: ExitStatus) => void): Promise<void> {
    const tui = await this.#ports.processes.spawn({
      command: this.#launch.command,
      args: ["--remote", this.#url, "--remote-auth-token-env", TOKEN_VARIABLE, "resume", this.#threadId!],
      cwd: this.#launch.cwd,
      env: { ...this.#launch.env, [TOKEN_VARIABLE]: this.#token },
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      ownGroup: false,
    });
    this.#tui = tui;
    void tui.exited.then(ended);
  }

  /** Dials, shakes hands and takes the thread up, or begins one. */
  async #connect(): Promise<void> {
    const rpc = new RpcLink({
      url: this.#url,
      token: this.#token,
      clock: this.#ports.clock,
      log: this.#ports.log,
      random: Math.random,
      events: {
        notification: (method, params) => {
          if (method === "thread/started") this.#threadStarted(params.thread);
          this.#thread?.take(method, params);
          // Somebody stopped a turn, not the work that waits behind it.
          if (method === "turn/completed" && this.#thread?.paused === true) void this.#startQueue();
        },
        request: (method, params) => {
          // Left to the person at the TUI; the answer given there settles the request on the server.
          if (!this.#launch.headless) return new Promise(() => {});
          this.#ports.log.warn("declined, nobody can answer", {
            method,
            threadId: String(params.threadId ?? ""),
          });
          return Promise.resolve(declineRequest(method));
        },
      },
    });
    await rpc.opened;
    await rpc.request("initialize", {
      clientInfo: { name: "agent-relay-runner", title: null, version: this.#launch.version },
      capabilities: { experimentalApi: true, optOutNotificationMethods: QUIET },
    });
    rpc.notify("initialized");
    this.#rpc = rpc;
    await this.#openThread(rpc);
    void rpc.closed.then(() => this.#lost(rpc));
  }

  /** The person began another conversation (`/new`); helper threads of the TUI are ephemeral and none of ours. */
  #threadStarted(value: unknown): void {
    const thread = value as { id?: string; ephemeral?: boolean; threadSource?: string | null };
    if (this.#launch.headless || thread.threadSource !== "user" || thread.ephemeral === true) return;
    if (thread.id === undefined || thread.id === this.#threadId) return;
    const threadId = thread.id;
    this.#threadId = threadId;
    this.#thread = new CodexThread((event) => this.#ports.emit(event), threadId);
    this.#ports.emit({ type: "activity", activity: "idle" });
    this.#ports.emit({ type: "conversation", resume: threadId });
    this.#subscribe(threadId).catch((error) =>
      this.#ports.log.warn("the new conversation cannot be followed", { error: messageOf(error) })
    );
  }

  async #subscribe(threadId: string): Promise<void> {
    const rpc = this.#need();
    // A thread without a turn has no file yet; a name makes it (measured).
    await rpc.request("thread/name/set", { threadId, name: this.#launch.label ?? this.#launch.agentId });
    const { thread } = await this.#resume(rpc, { threadId, excludeTurns: true });
    this.#thread?.status(thread.status);
  }

  async #openThread(rpc: RpcLink): Promise<void> {
    const settings = {
      cwd: this.#launch.cwd,
      ...approvalSettings(this.#launch.approval),
      ...(this.#args.model === null ? {} : { model: this.#args.model }),
    };
    if (this.#threadId !== null) {
      const threadId = this.#threadId;
      // Before the resume: what is queued starts with it, and its first notifications must find the thread.
      // Whether its last turn was interrupted by an earlier process is not told: then the queue stands still.
      this.#thread ??= new CodexThread((event) => this.#ports.emit(event), threadId, { paused: true });
      try {
        const { thread } = await this.#resume(rpc, { threadId, excludeTurns: true, ...settings });
        this.#thread.status(thread.status);
        return;
      } catch (error) {
        if (!(error instanceof RpcError) || !/no rollout|not found/i.test(error.message)) throw error;
        this.#ports.log.warn("the conversation is gone, a new one begins", { threadId });
        this.#thread = null;
      }
    }
    const { thread } = await rpc.request<{ thread: { id: string } }>("thread/start", settings);
    this.#threadId = thread.id;
    this.#thread = new CodexThread((event) => this.#ports.emit(event), thread.id);
    // Makes the thread's file, without which it could not be resumed before its first turn (measured).
    await rpc.request("thread/name/set", {
      threadId: thread.id,
      name: this.#launch.label ?? this.#launch.agentId,
    });
  }

  /** Right after a turn began the answer may be -32601 once (measured). */
  async #resume(rpc: RpcLink, params: Record<string, unknown>): Promise<{ thread: { status: unknown } }> {
    for (let attempt = 0;; attempt++) {
      try {
        return await rpc.request("thread/resume", params);
      } catch (error) {
        if (!(error instanceof RpcError) || error.rpcCode !== -32601 || attempt >= 20) throw error;
        await delay(this.#ports.clock, 50);
      }
    }
  }

  async #checkLogin(): Promise<void> {
    const account = await this.#need().request<{ account: unknown; requiresOpenaiAuth?: boolean }>(
      "account/read",
      {},
    );
    if (account.requiresOpenaiAuth === true && account.account === null) {
      this.#ports.emit({ type: "fault", reason: "codex is not logged in; run codex login" });
    }
  }

  /** The link dropped though the server may live: what was missed is read from the thread. */
  async #lost(rpc: RpcLink): Promise<void> {
    if (this.#phase !== "running" || this.#rpc !== rpc) return;
    this.#rpc = null;
    this.#ports.log.warn("the link to codex dropped, connecting again");
    const deadline = this.#ports.clock.mono() + RECONNECT_MS;
    for (let attempt = 0; this.#phase === "running"; attempt++) {
      try {
        await this.#connect();
        return await this.#catchUp();
      } catch (error) {
        if (this.#ports.clock.mono() >= deadline) {
          this.#ports.log.warn("codex cannot be reached any more", { error: messageOf(error) });
          await this.#child.stop({ graceMs: 0 });
          return;
        }
        await delay(this.#ports.clock, Math.min(1_000, 50 * 2 ** attempt));
      }
    }
  }

  /** Replays turns that ended while the link was down. */
  async #catchUp(): Promise<void> {
    for (const turn of (await this.#turns()).reverse()) {
      for (const item of turn.items ?? []) {
        this.#thread?.take("item/completed", { threadId: this.#threadId, turnId: turn.id, item });
      }
      if (turn.status !== "inProgress") this.#thread?.completed(turn);
    }
  }

  #need(): RpcLink {
    if (this.#rpc === null) throw new RunnerError("E_RPC", "the link to codex is down");
    return this.#rpc;
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#need().request("thread/queue/add", {
      threadId: this.#threadId,
      input: [{ type: "text", text: delivery.text }],
      clientUserMessageId: delivery.deliveryId,
    });
    if (this.#thread?.paused === true) await this.#startQueue();
  }

  async #startQueue(): Promise<void> {
    if (this.#phase !== "running") return;
    try {
      await this.#need().request("thread/queue/start", { threadId: this.#threadId });
    } catch (error) {
      this.#ports.log.debug("the queue was not started", { error: messageOf(error) });
    }
  }

  async #turns(): Promise<Turn[]> {
    const page = await this.#need().request<{ data: Turn[] }>("thread/turns/list", {
      threadId: this.#threadId,
      limit: TURNS,
      itemsView: "full",
    });
    return page.data;
  }

  async #queue(): Promise<QueueEntry[]> {
    const answer = await this.#need().request<{ data?: QueueEntry[] }>("thread/queue/list", {
      threadId: this.#threadId,
    });
    return answer.data ?? [];
  }

  async probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    try {
      const queue = await this.#queue();
      const turns = await this.#turns();
      for (const id of deliveryIds) {
        const queued = queue.some((entry) => entry.clientUserMessageId === id);
        if (queued) results.set(id, { state: "placed", evidence: "entry of thread/queue/list" });
        else results.set(id, probeTurns(turns, id) ?? { state: "absent" });
      }
      // After an interrupt the queue stands still until it is told to go on (measured).
      if (queue.length > 0 && this.#thread?.activity === "idle") await this.#startQueue();
    } catch (error) {
      for (const id of deliveryIds) {
        if (!results.has(id)) results.set(id, { state: "unknown", reason: messageOf(error) });
      }
    }
    return results;
  }

  async interrupt(): Promise<void> {
    const turnId = this.#thread?.turnId ?? null;
    if (turnId === null || this.#rpc === null) return;
    try {
      await this.#rpc.request("turn/interrupt", { threadId: this.#threadId, turnId }, INTERRUPT_MS);
    } catch (error) {
      this.#ports.log.debug("interrupt", { error: messageOf(error) });
    }
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    if (this.#phase === "running") this.#phase = "stopping";
    if (options.graceful) {
      // A server with a running turn only drains at its first signal; the second one ends it (measured).
      await this.interrupt();
      this.#child.signal("SIGTERM");
      const waitMs = Math.min(TERM_MS, options.timeoutMs);
      if (await withDeadline(this.#ports.clock, waitMs, this.#child.exited) === TIMED_OUT) {
        this.#ports.log.debug("codex drains, a second signal ends it");
      }
    }
    const stop = { graceMs: options.graceful ? options.timeoutMs : 0 };
    const [status] = await Promise.all([this.#child.stop(stop), this.#tui?.stop(stop)]);
    return status;
  }
}
