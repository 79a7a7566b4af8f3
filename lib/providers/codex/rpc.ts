import { type Clock, delay } from "../../base/clock.ts";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { isRecord } from "../../protocol/codec.ts";
import { dial, type Link } from "../../transport/link.ts";
import { wholeReason } from "../reason.ts";

const REQUEST_MS = 30_000;
const PENDING_LIMIT = 64;
const OVERLOADED = -32001;
const OVERLOAD_TRIES = 5;

/** An error the app-server answered with. */
export class RpcError extends RunnerError {
  constructor(readonly rpcCode: number, message: string, method: string) {
    super("E_RPC", `codex refused ${method}: ${shown(wholeReason(message), Infinity)}`);
  }
}

/** What a link to the app-server tells its owner. A throw of a handler is caught and logged. */
export interface RpcEvents {
  notification(method: string, params: Record<string, unknown>): void;
  /** A request of the server; the answer may be a promise. */
  request(method: string, params: Record<string, unknown>): unknown;
  /** A request got no answer within 30 s: the server hangs. What was asked may still happen when it wakes up. */
  hung(method: string): void;
}

/** Answer for a server request whose method is not known here (-32601). */
export const UNKNOWN_METHOD: unique symbol = Symbol("unknown method");
/** Answer for a server request that is another client's to answer. */
export const UNANSWERED: unique symbol = Symbol("unanswered");

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
  method: string;
}

/** JSON-RPC over one WebSocket to a Codex app-server (0.169.0: no `jsonrpc` member, server ids start at 0). */
export class RpcLink {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: RpcEvents;
  readonly #random: () => number;
  readonly #pending = new Map<number, Pending>();
  readonly #link: Link;
  readonly #opened = Promise.withResolvers<void>();
  #nextId = 1;
  #over = false;

  constructor(
    options: { url: string; token: string; clock: Clock; log: Log; random(): number; events: RpcEvents },
  ) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#events = options.events;
    this.#random = options.random;
    this.#link = dial(options.url, {
      headers: { authorization: `Bearer ${options.token}` },
      clock: options.clock,
      events: { open: () => this.#opened.resolve(), text: (data) => this.#received(data) },
    });
    void this.#link.closed.then((end) => {
      this.#over = true;
      const error = new RunnerError("E_RPC", `the link to codex ended: ${shown(end.reason) || end.code}`);
      this.#opened.reject(error);
      for (const pending of this.#pending.values()) pending.reject(error);
      this.#pending.clear();
    });
    this.#opened.promise.catch(() => {});
  }

  /** Resolves when connected; rejects when the link could not be made. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** True once the link is over: its failures say nothing about what the server did. */
  get over(): boolean {
    return this.#over;
  }

  /** Resolves when the link is over. */
  get closed(): Promise<unknown> {
    return this.#link.closed;
  }

  /** Asks the server; a refusal is an RpcError. Overload is retried with jitter, five times. */
  async request<T>(method: string, params: unknown, timeoutMs = REQUEST_MS): Promise<T> {
    for (let attempt = 0;; attempt++) {
      try {
        return await this.#once(method, params, timeoutMs) as T;
      } catch (error) {
        const overloaded = error instanceof RpcError && error.rpcCode === OVERLOADED;
        if (!overloaded || attempt >= OVERLOAD_TRIES) throw error;
        await delay(this.#clock, 50 + this.#random() * 200 * 2 ** attempt);
      }
    }
  }

  #once(method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#pending.size >= PENDING_LIMIT) {
      return Promise.reject(new RunnerError("E_RPC", "too many requests to codex are unanswered"));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const finish = () => {
        cancel();
        this.#pending.delete(id);
      };
      const cancel = this.#clock.setTimer(timeoutMs, () => {
        finish();
        reject(new RunnerError("E_RPC", `codex did not answer ${method} within ${timeoutMs} ms`));
        if (timeoutMs >= REQUEST_MS) this.#events.hung(method);
      });
      this.#pending.set(id, {
        method,
        resolve: (value) => {
          finish();
          resolve(value);
        },
        reject: (error) => {
          finish();
          reject(error);
        },
      });
      if (!this.#send({ id, method, params })) {
        finish();
        reject(new RunnerError("E_RPC", "the link to codex is down"));
      }
    });
  }

  /** Sends a notification. */
  notify(method: string): void {
    this.#send({ method });
  }

  close(): void {
    this.#link.close();
  }

  #send(value: unknown): boolean {
    return this.#link.send(JSON.stringify(value));
  }

  #received(data: string): void {
    let message: unknown;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#log.warn("codex sent a frame that is not JSON");
    }
    if (!isRecord(message)) return;
    const { id, method } = message;
    const params = isRecord(message.params) ? message.params : {};
    try {
      if (typeof method === "string" && "id" in message) this.#asked(id, method, params);
      else if (typeof method === "string") {
        if (this.#pending.size > 0) this.#acknowledge();
        this.#events.notification(method, params);
      } else if (typeof id === "number") this.#answered(id, message);
      else this.#log.debug("codex answered an unknown request");
    } catch (error) {
      this.#log.warn("a frame of codex failed", { method: String(method), error: messageOf(error) });
    }
  }

  /**
   * Has the kernel acknowledge what just came, at once and along with a small frame. Both ends use Nagle's algorithm: the
   * answer that follows a notification is kept back by the server until then, which the kernel puts off for 40 ms when
   * we have nothing to say (0.169.0, measured: 40 of the 75 ms of a resume). To a further `initialized` the server does
   * nothing, however often it comes.
   */
  #acknowledge(): void {
    this.notify("initialized");
  }

  #answered(id: number, message: Record<string, unknown>): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return this.#log.debug("codex answered an unknown request", { id });
    const { error } = message;
    if (!isRecord(error)) return pending.resolve(message.result);
    const code = typeof error.code === "number" ? error.code : -32603;
    pending.reject(new RpcError(code, String(error.message ?? ""), pending.method));
  }

  #asked(id: unknown, method: string, params: Record<string, unknown>): void {
    if (typeof id !== "number" && typeof id !== "string") {
      this.#send({ id: null, error: { code: -32600, message: "a request needs an id" } });
      return;
    }
    const failed = (error: unknown) => this.#send({ id, error: { code: -32603, message: messageOf(error) } });
    try {
      const result = this.#events.request(method, params);
      if (result === UNANSWERED) return;
      if (result === UNKNOWN_METHOD) {
        this.#send({ id, error: { code: -32601, message: `${shown(method)} is not known here` } });
      } else if (result instanceof Promise) {
        result.then((value) => this.#send({ id, result: value as unknown }), failed);
      } else this.#send({ id, result });
    } catch (error) {
      failed(error);
    }
  }
}
