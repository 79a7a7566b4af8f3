import { type Clock, delay, TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf, RunnerError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type RpcEvents, RpcLink } from "./rpc.ts";

/** The first link of a server includes the resume of a conversation that may be long. */
const FIRST_MS = 60_000;
/** A link that dropped while the server lives must be back in this time. */
const AGAIN_MS = 10_000;
const BACKOFF_MS = 50;
const BACKOFF_CAP_MS = 1_000;

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

/** What a connection needs and whom it tells. */
export interface ConnectionOptions {
  url: string;
  token: string;
  /** The runner's version, for the handshake. */
  version: string;
  clock: Clock;
  log: Log;
  random(): number;
  events: RpcEvents;
  /**
   * Takes the conversation up on a fresh link; `again` when an earlier link to this server dropped. A rejection drops
   * the link, and it is tried again.
   */
  up(rpc: RpcLink, again: boolean): Promise<void>;
  /** The server lives, perhaps, but cannot be reached: no further attempt is made. */
  lost(reason: string): void;
}

/**
 * Keeps a usable link to one app-server for as long as it lives: dials, shakes hands (Codex 0.169.0: `initialize`, then
 * `initialized`), lets the owner take its conversation up, and does all of that again whenever the link drops.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #closing = new AbortController();
  readonly #waiting = new Set<(rpc: RpcLink) => void>();
  #usable: RpcLink | null = null;
  #latest: RpcLink | null = null;
  #last = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    void this.#keep();
  }

  /** The link if it is usable now, else null. */
  get now(): RpcLink | null {
    return this.#usable;
  }

  /** Resolves with a usable link; rejects when the signal aborts or the connection is closed first. */
  link(signal: AbortSignal): Promise<RpcLink> {
    if (this.#usable?.over === false) return Promise.resolve(this.#usable);
    const either = AbortSignal.any([signal, this.#closing.signal]);
    return new Promise((resolve, reject) => {
      if (either.aborted) return reject(either.reason);
      const fail = () => {
        this.#waiting.delete(done);
        reject(either.reason);
      };
      const done = (rpc: RpcLink) => {
        this.#waiting.delete(done);
        either.removeEventListener("abort", fail);
        resolve(rpc);
      };
      this.#waiting.add(done);
      either.addEventListener("abort", fail, { once: true });
    });
  }

  /** The server was asked to end: this link is heard to its last word, and none follows it. */
  isLast(): void {
    this.#last = true;
  }

  /** Ends the link and every attempt. Idempotent. */
  close(): void {
    this.#closing.abort(new RunnerError("E_RPC", "the link to codex is down"));
    this.#usable = null;
    this.#latest?.close();
  }

  async #keep(): Promise<void> {
    for (let again = false; !this.#closing.signal.aborted; again = true) {
      const rpc = await this.#reach(again);
      if (rpc === null) return;
      this.#usable = rpc;
      for (const done of [...this.#waiting]) done(rpc);
      await rpc.closed;
      this.#usable = null;
      if (this.#last) return;
      if (!this.#closing.signal.aborted) {
        this.#options.log.warn("the link to codex dropped, connecting again");
      }
    }
  }

  async #reach(again: boolean): Promise<RpcLink | null> {
    const { clock, log, lost } = this.#options;
    const deadline = clock.mono() + (again ? AGAIN_MS : FIRST_MS);
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      const rpc = this.#latest = new RpcLink(this.#options);
      try {
        const shaken = await withDeadline(clock, deadline - clock.mono(), this.#shake(rpc, again));
        if (shaken === TIMED_OUT) throw new RunnerError("E_RPC", "codex did not answer in time");
        return rpc;
      } catch (error) {
        rpc.close();
        if (this.#closing.signal.aborted) return null;
        if (clock.mono() >= deadline) {
          lost(messageOf(error));
          return null;
        }
        log.debug("no link to codex yet", { error: messageOf(error) });
        const pauseMs = Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** attempt);
        await delay(clock, pauseMs, this.#closing.signal).catch(() => {});
      }
    }
    return null;
  }

  async #shake(rpc: RpcLink, again: boolean): Promise<void> {
    await rpc.opened;
    await rpc.request("initialize", {
      clientInfo: { name: "agent-relay-runner", title: null, version: this.#options.version },
      capabilities: { experimentalApi: true, optOutNotificationMethods: QUIET },
    });
    rpc.notify("initialized");
    await this.#options.up(rpc, again);
  }
}
