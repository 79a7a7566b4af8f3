import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

/** How to serve a relay. */
export interface RelayOptions {
  /** Default 127.0.0.1. Another host than loopback needs a token. */
  hostname: string;
  /** 0 picks a free port. */
  port: number;
  /** SQLite file; created 0600 in a 0700 directory. */
  dbPath: string;
  /** Expected token; null (`--no-auth`) opens the loopback. */
  token: string | null;
  /** Served inside a runner. */
  embedded: boolean;
  version: string;
  /** Length of a claim; default 60,000. */
  leaseMs?: number;
  clock: Clock;
  log: Log;
}

/** A relay that serves. */
export interface RelayServer {
  readonly url: string;
  readonly hostname: string;
  readonly port: number;
  readonly storeId: string;
  /** Resolves when it stopped serving: by `stop`, or because a `runner relay` asked it to yield. */
  readonly finished: Promise<"stopped" | "yielded">;
  /** Drops every client with whatever waits for it: each connects again and gets what it has not read. */
  dropClients(): void;
  /** Closes sockets (1001), stops timers, closes the database. Idempotent, at most 2 s. */
  stop(): Promise<void>;
}
