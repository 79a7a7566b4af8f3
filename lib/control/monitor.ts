import type { Log } from "../base/log.ts";
import { MONITOR_FRAME_BYTES, MONITOR_REPLACED, readDelivered } from "../protocol/control.ts";
import type { MonitorNotice, MonitorPort } from "../providers/contract.ts";

/** Seconds between pings; a monitor that does not answer is given up. */
const PING_S = 20;

/** A delivery that waits for its monitor's confirmation. */
interface Pending {
  /** The socket it went to; only this one can confirm it (S-4). */
  socket: WebSocket;
  open: Set<string>;
  settle(error: Error | null): void;
}

/**
 * The control server's end of `/monitor`: one live monitor per session, a new one takes the place of the old. What a
 * monitor confirms means only that it printed the lines.
 */
export class MonitorDoor implements MonitorPort {
  readonly #log: Log;
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Set<(connected: boolean) => void>();
  #live: WebSocket | null = null;
  #over = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Upgrades a request whose token was checked. */
  accept(request: Request): Response {
    const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: PING_S });
    // A throw in a handler of a socket would end the process.
    socket.onopen = () => this.#guarded(() => this.#opened(socket));
    socket.onmessage = (event) => this.#guarded(() => this.#take(socket, event.data));
    socket.onclose = () => this.#guarded(() => this.#closed(socket));
    socket.onerror = (event) => event.preventDefault();
    return response;
  }

  watch(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#live !== null);
    return () => this.#listeners.delete(listener);
  }

  async deliver(deliveryId: string, notices: readonly MonitorNotice[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const socket = await this.#connected(signal);
    if (this.#pending.has(deliveryId)) throw new Error("this delivery waits for its monitor already");
    const frame = JSON.stringify({
      type: "message.deliver",
      deliveryId,
      messages: notices.map(({ messageId, line }) => ({ id: messageId, line })),
    });
    if (frame.length > MONITOR_FRAME_BYTES) throw new Error("more than a monitor takes in one frame");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => this.#settle(deliveryId, signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#pending.set(deliveryId, {
      socket,
      open: new Set(notices.map(({ messageId }) => messageId)),
      settle: (error) => error === null ? resolve() : reject(error),
    });
    try {
      socket.send(frame);
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#pending.delete(deliveryId);
    }
  }

  /** Drops the live socket with whatever waits in it; a monitor that lives connects again. */
  drop(): void {
    this.#live?.close(1013, "the runner is short of memory");
  }

  /** Ends the live socket and every delivery. */
  stop(): void {
    this.#over = true;
    for (const id of [...this.#pending.keys()]) this.#settle(id, new Error("the runner is ending"));
    this.#live?.close(1001, "the runner is ending");
    this.#live = null;
  }

  #connected(signal: AbortSignal): Promise<WebSocket> {
    if (this.#live !== null) return Promise.resolve(this.#live);
    const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const unwatch = this.watch(() => {
      if (this.#live !== null) resolve(this.#live);
    });
    return promise.finally(() => {
      unwatch();
      signal.removeEventListener("abort", onAbort);
    });
  }

  #opened(socket: WebSocket): void {
    if (this.#over) return socket.close(1001, "the runner is ending");
    const old = this.#live;
    this.#live = socket;
    if (old !== null) {
      this.#abandon(old, "another monitor took its place");
      old.close(MONITOR_REPLACED, "replaced");
    }
    this.#log.debug("a monitor connected");
    this.#tell();
  }

  #closed(socket: WebSocket): void {
    this.#abandon(socket, "the monitor went away");
    if (this.#live !== socket) return;
    this.#live = null;
    this.#log.debug("the monitor went away");
    this.#tell();
  }

  #take(socket: WebSocket, data: unknown): void {
    if (typeof data !== "string") return socket.close(1003, "text only");
    if (data.length > MONITOR_FRAME_BYTES) return socket.close(1009, "frame too long");
    const frame = readDelivered(data);
    if (frame === null) return this.#log.debug("a monitor sent what is no confirmation");
    const pending = this.#pending.get(frame.deliveryId);
    // Another socket's delivery, a repeat, or ids that were never in it: confirms nothing at all.
    if (pending?.socket !== socket || !frame.messageIds.every((id) => pending.open.has(id))) {
      return this.#log.debug("a monitor confirmed what it was not given");
    }
    for (const id of frame.messageIds) pending.open.delete(id);
    if (pending.open.size === 0) this.#settle(frame.deliveryId, null);
  }

  #abandon(socket: WebSocket, reason: string): void {
    for (const [id, pending] of this.#pending) {
      if (pending.socket === socket) this.#settle(id, new Error(reason));
    }
  }

  #settle(deliveryId: string, error: Error | null): void {
    const pending = this.#pending.get(deliveryId);
    this.#pending.delete(deliveryId);
    pending?.settle(error);
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener(this.#live !== null);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log.warn("a monitor's socket failed", { error: String(error) });
    }
  }
}
