/**
 * The protocol of Codex's app-server (0.169.0) as measured, with a script instead of a model: threads, turns, queue,
 * subscriptions, approvals, refusals and their order. In-process it is served on a real WebSocket by
 * {@linkcode serveFakeAppServer}; `fake_app_server_main.ts` makes a child process of it.
 */
import { createHash } from "node:crypto";
import { type FakeModel, FakeTurn } from "./fake_turn.ts";
import { type StoredThread, type StoredTurn, ThreadStore } from "./fake_threads.ts";

export { type FakeModel, type FakeTurn, obeyText, type TurnEnd } from "./fake_turn.ts";
export { ThreadStore } from "./fake_threads.ts";

/** Characters of input that the server takes. */
const INPUT_LIMIT = 1_048_576;

type Params = Record<string, unknown>;

/** An error answer. */
class Refusal extends Error {
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

/** One client. What happens on it passes through {@linkcode FakeAppServerOptions.point}. */
export interface FakeConnection {
  readonly id: number;
  /** Takes one text frame of the client. */
  receive(text: string): void;
  /** The client is gone. Its turns go on. */
  closed(): void;
  /** Cuts the link: nothing more is sent or read. */
  drop(): void;
}

export interface FakeAppServerOptions {
  store: ThreadStore;
  model: FakeModel;
  /**
   * Called at every point of the protocol, before it takes effect: `recv METHOD` (a frame came, not handled yet),
   * `done METHOD` (handled, not answered yet), `send METHOD` (a notification is about to go to this client). A hook
   * that drops the connection there makes the frame be lost.
   */
  point?(name: string, connection: FakeConnection): void;
  /**
   * Makes the server hang on a frame: `deaf` does not take it (a stopped process), `mute` does what it asks and gives no
   * answer, `half` answers with the id alone.
   */
  hang?(method: string, connection: FakeConnection): "deaf" | "mute" | "half" | null;
  /** Answers `-32601` to the first look at a thread's turns after one began, as the real one may. */
  transientRefusals?: boolean;
  /** Nobody is logged in, and the model would want it. */
  loggedOut?: boolean;
}

interface Client extends FakeConnection {
  initialized: boolean;
  dead: boolean;
  quiet: ReadonlySet<string>;
  send(value: unknown): void;
}

interface Live {
  thread: StoredThread;
  subscribers: Set<Client>;
  turn: FakeTurn | null;
  status: Params;
  /** A turn has just begun: the next list of turns is refused once. */
  fresh: boolean;
  approvals: Map<number, { method: string; params: Params; answered(decision: unknown): void }>;
}

/** The server itself; see the head of the file. */
export class FakeAppServer {
  readonly #options: FakeAppServerOptions;
  readonly #clients = new Set<Client>();
  readonly #live = new Map<string, Live>();
  #connections = 0;
  #requestId = 0;
  #idle: (() => void)[] = [];

  constructor(options: FakeAppServerOptions) {
    this.#options = options;
  }

  get store(): ThreadStore {
    return this.#options.store;
  }

  /** Number of turns under way. */
  get running(): number {
    return [...this.#live.values()].filter((live) => live.turn !== null).length;
  }

  /** Resolves when no turn runs. */
  async whenIdle(): Promise<void> {
    while (this.running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Takes a client; `send` and `close` are its socket. */
  connect(socket: { send(text: string): void; close(): void }): FakeConnection {
    const client: Client = {
      id: ++this.#connections,
      initialized: false,
      dead: false,
      quiet: new Set(),
      send: (value) => {
        const { method } = value as { method?: string };
        if (method !== undefined) this.#options.point?.(`send ${method}`, client);
        if (!client.dead) socket.send(JSON.stringify(value));
      },
      receive: (text) => this.#receive(client, text),
      closed: () => this.#forget(client),
      drop: () => {
        this.#forget(client);
        socket.close();
      },
    };
    this.#clients.add(client);
    return client;
  }

  /** Ends all turns without a word, as a SIGKILL does. */
  kill(): void {
    for (const live of this.#live.values()) live.turn?.abandon();
    for (const client of [...this.#clients]) client.drop();
  }

  #forget(client: Client): void {
    client.dead = true;
    this.#clients.delete(client);
    for (const live of this.#live.values()) live.subscribers.delete(client);
  }

  #receive(client: Client, text: string): void {
    if (client.dead) return;
    let frame: { id?: unknown; method?: unknown; params?: unknown; result?: unknown };
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof frame.method !== "string") return this.#answered(frame);
    const { method, id } = frame;
    this.#options.point?.(`recv ${method}`, client);
    const hang = this.#options.hang?.(method, client) ?? null;
    if (client.dead || id === undefined || hang === "deaf") return;
    const after: (() => void)[] = [];
    let answer: Params;
    try {
      answer = { id, result: this.#handle(client, method, (frame.params ?? {}) as Params, after) };
    } catch (error) {
      const code = error instanceof Refusal ? error.code : -32603;
      answer = { id, error: { code, message: (error as Error).message } };
    }
    this.#options.point?.(`done ${method}`, client);
    if (hang !== "mute") client.send(hang === "half" ? { id } : answer);
    // The work goes on whether or not the client has heard the answer.
    for (const work of after) work();
  }

  #handle(client: Client, method: string, params: Params, after: (() => void)[]): unknown {
    if (method === "initialize") {
      if (client.initialized) throw new Refusal(-32600, "Already initialized");
      client.initialized = true;
      const { optOutNotificationMethods } = (params.capabilities ?? {}) as {
        optOutNotificationMethods?: string[];
      };
      client.quiet = new Set(optOutNotificationMethods ?? []);
      after.push(() =>
        client.send({ method: "remoteControl/status/changed", params: { status: "disabled" } })
      );
      return { userAgent: "fake/0.169.0", codexHome: "/", platformFamily: "unix", platformOs: "linux" };
    }
    if (!client.initialized) throw new Refusal(-32600, "Not initialized");
    const threadId = String(params.threadId);
    switch (method) {
      case "account/read":
        return { account: null, requiresOpenaiAuth: this.#options.loggedOut === true };
      case "thread/loaded/list":
        return { data: [...this.#live.keys()], nextCursor: null };
      case "thread/start":
        return this.#start(client, params, after);
      case "thread/name/set": {
        const { thread } = this.#loaded(threadId);
        thread.name = String(params.name);
        thread.rollout = true;
        this.store.save();
        after.push(() => this.#broadcast("thread/name/updated", { threadId, threadName: thread.name }));
        return {};
      }
      case "thread/resume":
        return this.#resume(client, threadId, after);
      case "thread/unsubscribe":
        return {
          status: this.#live.get(threadId)?.subscribers.delete(client) ? "unsubscribed" : "notSubscribed",
        };
      case "thread/read": {
        const thread = this.#stored(threadId);
        return { thread: this.#shown(thread) };
      }
      case "thread/turns/list": {
        const thread = this.#stored(threadId);
        this.#refuseFresh(threadId);
        return { data: thread.turns.slice(-Number(params.limit ?? 50)).reverse(), nextCursor: null };
      }
      case "turn/start":
        return this.#turnStart(this.#loaded(threadId), params, after);
      case "turn/interrupt":
        return this.#interrupt(this.#loaded(threadId), String(params.turnId));
      case "thread/settings/update":
        this.#loaded(threadId);
        return {};
      case "thread/queue/add": {
        const live = this.#loaded(threadId);
        const size = (params.input as { text: string }[]).reduce((sum, { text }) => sum + text.length, 0);
        if (size > INPUT_LIMIT) {
          throw new Refusal(-32602, `Input exceeds the maximum of ${INPUT_LIMIT} characters`);
        }
        const entry = {
          id: crypto.randomUUID(),
          input: params.input as { text: string }[],
          clientUserMessageId: String(params.clientUserMessageId),
        };
        live.thread.queue.push(entry);
        this.store.save();
        after.push(() => {
          this.#tell(live, "thread/queue/changed", { threadId });
          if (live.turn === null && !live.thread.paused) this.#next(live);
        });
        return { queuedSubmission: entry };
      }
      case "thread/queue/list":
        return { data: this.#stored(threadId).queue, nextCursor: null };
      case "thread/queue/delete": {
        const thread = this.#stored(threadId);
        const at = thread.queue.findIndex((entry) => entry.id === params.queuedSubmissionId);
        if (at >= 0) thread.queue.splice(at, 1);
        this.store.save();
        return { deleted: at >= 0 };
      }
      case "thread/queue/start": {
        const live = this.#loaded(threadId);
        if (live.turn !== null) throw new Refusal(-32600, "a turn is running");
        if (live.thread.queue.length === 0) throw new Refusal(-32600, "the queue is empty");
        return { turn: this.#next(live) };
      }
      default:
        throw new Refusal(-32600, `Invalid request: unknown variant \`${method}\`, expected one of …`);
    }
  }

  #loaded(threadId: string): Live {
    const live = this.#live.get(threadId);
    if (live === undefined) throw new Refusal(-32600, `thread not found: ${threadId}`);
    return live;
  }

  #stored(threadId: string): StoredThread {
    const thread = this.#live.get(threadId)?.thread ?? this.store.threads.get(threadId);
    if (thread === undefined) throw new Refusal(-32600, `thread not loaded: ${threadId}`);
    return thread;
  }

  /** The list of turns is not there yet right after one began (measured: once, then it is). */
  #refuseFresh(threadId: string): void {
    const live = this.#live.get(threadId);
    if (!live?.fresh) return;
    live.fresh = false;
    if (this.#options.transientRefusals) throw new Refusal(-32601, "list_turns is not supported yet");
  }

  #shown(thread: StoredThread): Params {
    const status = this.#live.get(thread.id)?.status ?? { type: "notLoaded" };
    const { id, name, threadSource, ephemeral } = thread;
    return { id, name, status, threadSource, ephemeral, parentThreadId: null, turns: [] };
  }

  #load(thread: StoredThread): Live {
    const live: Live = {
      thread,
      subscribers: new Set(),
      turn: null,
      status: { type: "idle" },
      fresh: false,
      approvals: new Map(),
    };
    this.#live.set(thread.id, live);
    return live;
  }

  #start(client: Client, params: Params, after: (() => void)[]): unknown {
    const thread = this.store.create({
      threadSource: typeof params.threadSource === "string" ? params.threadSource : null,
      ephemeral: params.ephemeral === true,
    });
    const live = this.#load(thread);
    live.subscribers.add(client);
    const started = () => this.#broadcast("thread/started", { thread: this.#shown(thread) });
    // Before or after the answer: both were seen.
    if (this.#live.size % 2 === 0) started();
    else after.push(started);
    const { approvalPolicy, sandbox } = params;
    return { thread: this.#shown(thread), model: "fake", cwd: params.cwd, approvalPolicy, sandbox };
  }

  #resume(client: Client, threadId: string, after: (() => void)[]): unknown {
    const thread = this.#live.get(threadId)?.thread ?? this.store.threads.get(threadId);
    if (!thread?.rollout) throw new Refusal(-32600, `no rollout found for thread id ${threadId}`);
    this.#refuseFresh(threadId);
    let live = this.#live.get(threadId);
    if (live === undefined) {
      live = this.#load(thread);
      this.#broadcast("thread/status/changed", { threadId, status: live.status });
    }
    const resumed = live;
    resumed.subscribers.add(client);
    after.push(() => {
      this.#tell(resumed, "thread/goal/cleared", { threadId });
      for (const [id, { method, params }] of resumed.approvals) client.send({ id, method, params });
      if (resumed.turn === null && !resumed.thread.paused) this.#next(resumed);
    });
    return { thread: this.#shown(thread), turnsBackwardsCursor: null };
  }

  #turnStart(live: Live, params: Params, after: (() => void)[]): unknown {
    const text = (params.input as { text?: string }[]).map((item) => item.text ?? "").join("\n");
    const clientId = typeof params.clientUserMessageId === "string" ? params.clientUserMessageId : null;
    if (live.turn !== null) {
      // A steer, not a second turn (measured).
      this.#input(live.turn, text, clientId);
      return { turn: { id: live.turn.id, status: "inProgress", items: [] } };
    }
    const turn = this.#begin(live);
    after.push(() => this.#run(live, turn, text, clientId));
    return { turn: { id: turn.id, status: "inProgress", items: [] } };
  }

  /** Runs the oldest entry of the queue as a turn of its own. */
  #next(live: Live): Params | null {
    const entry = live.thread.queue.shift();
    if (entry === undefined) return null;
    live.thread.paused = false;
    const turn = this.#begin(live);
    this.#run(live, turn, entry.input.map((item) => item.text).join("\n"), entry.clientUserMessageId);
    return { id: turn.id, status: "inProgress", items: [] };
  }

  #begin(live: Live): FakeTurn {
    const stored: StoredTurn = { id: crypto.randomUUID(), status: "inProgress", error: null, items: [] };
    live.thread.turns.push(stored);
    live.thread.rollout = true;
    live.thread.paused = false;
    live.fresh = true;
    live.turn = new FakeTurn(live.thread.id, stored, {
      item: (phase, item) =>
        this.#tell(live, `item/${phase}`, { threadId: live.thread.id, turnId: stored.id, item }),
      approve: (method, params) => this.#approve(live, stored.id, method, params),
      changed: () => this.store.save(),
    });
    this.store.save();
    return live.turn;
  }

  #run(live: Live, turn: FakeTurn, text: string, clientId: string | null): void {
    const threadId = live.thread.id;
    this.#status(live, { type: "active", activeFlags: [] });
    this.#tell(live, "turn/started", { threadId, turn: { id: turn.id, status: "inProgress", items: [] } });
    this.#input(turn, text, clientId);
    void turn.run(this.#options.model).then((end) => {
      if (end === null || live.turn !== turn) return;
      this.#end(live, turn, end.status, end.error ?? null);
    });
  }

  #input(turn: FakeTurn, text: string, clientId: string | null): void {
    turn.inputs.push({ clientId, text });
    turn.item({ type: "userMessage", id: crypto.randomUUID(), clientId, content: [{ type: "text", text }] });
  }

  #end(live: Live, turn: FakeTurn, status: StoredTurn["status"], error: StoredTurn["error"]): void {
    const threadId = live.thread.id;
    live.turn = null;
    live.fresh = false;
    turn.stored.status = status;
    turn.stored.error = error;
    live.approvals.clear();
    if (status === "interrupted") live.thread.paused = true;
    this.store.save();
    if (error !== null) this.#tell(live, "error", { threadId, turnId: turn.id, error, willRetry: false });
    this.#status(live, { type: status === "failed" ? "systemError" : "idle" });
    const items = turn.stored.items.filter((item) => item.type === "agentMessage");
    this.#tell(live, "turn/completed", { threadId, turn: { id: turn.id, status, error, items } });
    if (!live.thread.paused) this.#next(live);
    if (this.running === 0) { for (const resolve of this.#idle.splice(0)) resolve(); }
  }

  #interrupt(live: Live, turnId: string): unknown {
    if (live.turn === null) throw new Refusal(-32600, "no active turn to interrupt");
    if (live.turn.id !== turnId) {
      throw new Refusal(-32600, `expected active turn id ${turnId} but found ${live.turn.id}`);
    }
    const { turn } = live;
    turn.abandon();
    this.#end(live, turn, "interrupted", null);
    return {};
  }

  #approve(live: Live, turnId: string, method: string, params: Params): Promise<unknown> {
    const id = this.#requestId++;
    const threadId = live.thread.id;
    return new Promise((resolve) => {
      const request = { threadId, turnId, ...params };
      live.approvals.set(id, {
        method,
        params: request,
        answered: (decision) => {
          live.approvals.delete(id);
          this.#tell(live, "serverRequest/resolved", { threadId, requestId: id });
          if (live.turn !== null) this.#status(live, { type: "active", activeFlags: [] });
          resolve(decision);
        },
      });
      this.#status(live, { type: "active", activeFlags: ["waitingOnApproval"] });
      for (const client of live.subscribers) client.send({ id, method, params: request });
    });
  }

  #answered(frame: { id?: unknown; result?: unknown }): void {
    for (const live of this.#live.values()) {
      live.approvals.get(frame.id as number)?.answered(
        (frame.result as { decision?: unknown } | undefined)?.decision,
      );
    }
  }

  #status(live: Live, status: Params): void {
    live.status = status;
    this.#broadcast("thread/status/changed", { threadId: live.thread.id, status });
  }

  #broadcast(method: string, params: Params): void {
    for (const client of [...this.#clients]) this.#notify(client, method, params);
  }

  #tell(live: Live, method: string, params: Params): void {
    for (const client of [...live.subscribers]) this.#notify(client, method, params);
  }

  #notify(client: Client, method: string, params: Params): void {
    if (!client.initialized || client.quiet.has(method)) return;
    client.send({ method, params, emittedAtMs: Date.now() });
  }
}

/** A served {@linkcode FakeAppServer}. */
export interface ServedAppServer {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Serves it on the loopback. `tokenSha256` is the capability token's hash in hex, null for none; a request with an
 * Origin is refused as the real one does. Throws Deno.errors.AddrInUse.
 */
export function serveFakeAppServer(
  server: FakeAppServer,
  options: { port: number; tokenSha256: string | null },
): ServedAppServer {
  const sockets = new Set<WebSocket>();
  const abort = new AbortController();
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: options.port, signal: abort.signal, onListen: () => {} },
    (request) => {
      if (request.headers.get("upgrade") !== "websocket") return new Response("ok");
      if (request.headers.get("origin") !== null) return new Response("", { status: 403 });
      if (options.tokenSha256 !== null) {
        const token = request.headers.get("authorization")?.replace(/^Bearer /, "") ?? "";
        // In one step with the upgrade: a client that goes away in between would leave a socket that never opens.
        if (createHash("sha256").update(token).digest("hex") !== options.tokenSha256.toLowerCase()) {
          return new Response("", { status: 401 });
        }
      }
      const { socket, response } = Deno.upgradeWebSocket(request);
      const connection = server.connect({
        send: (text) => socket.readyState === WebSocket.OPEN ? socket.send(text) : undefined,
        close: () => socket.close(),
      });
      sockets.add(socket);
      socket.onmessage = (event) =>
        typeof event.data === "string" ? connection.receive(event.data) : undefined;
      socket.onerror = () => {};
      socket.onclose = () => {
        sockets.delete(socket);
        connection.closed();
      };
      return response;
    },
  );
  return {
    url: `ws://127.0.0.1:${http.addr.port}`,
    port: http.addr.port,
    async stop() {
      server.kill();
      for (const socket of sockets) socket.close();
      // Not in order: a client that is closing its side as well may never answer.
      abort.abort();
      await http.finished;
    },
  };
}
