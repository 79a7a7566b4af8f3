import { fullJitter } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { dial, type Link, type LinkEnd } from "./link.ts";

/** Back-off of R-13. */
const BASE_MS = 500;
const CAP_MS = 30_000;
/** A relay that refuses the credentials is asked this often. */
const AUTH_MS = 60_000;
/** The back-off starts anew only after the link was good for this long. */
const STABLE_MS = 10_000;
/**
 * For this long after a loss a refused loopback connection is retried quickly: another runner takes an embedded
 * relay over within 2 s, and only this machine is asked.
 */
const TAKEOVER_MS = 5_000;
const TAKEOVER_CAP_MS = 300;

/** What the owner does with a link. */
export interface RedialEvents {
  /** A socket is open: speak the first words. */
  open(link: Link): void;
  text(link: Link, data: string): void;
  /** The link is gone; the next attempt comes after `delayMs`. `auth`: the peer refused the credentials. */
  waiting(info: { end: LinkEnd; auth: boolean; attempt: number; delayMs: number }): void;
  connecting(attempt: number): void;
}

/** Keeps one link up for ever: dials, waits with full jitter, dials again. Never more than one socket. */
export class Redialer {
  readonly #url: string;
  readonly #headers: () => Record<string, string>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: RedialEvents;
  readonly #loopback: boolean;
  #link: Link | null = null;
  #attempt = 0;
  #lostAt: number | null = null;
  #cancelWait: (() => void) | null = null;
  #cancelStable: (() => void) | null = null;
  #mode: "on" | "paused" | "closed" = "on";
  #rejected = false;

  constructor(options: {
    url: string;
    headers: () => Record<string, string>;
    clock: Clock;
    random: () => number;
    events: RedialEvents;
  }) {
    this.#url = options.url;
    this.#headers = options.headers;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#events = options.events;
    this.#loopback = /^wss?:\/\/(127\.|localhost[:/]|\[::1\])/.test(options.url);
  }

  /** Starts, also after a pause; the very first attempt comes at once, since a single process at start is no stampede. */
  start(): void {
    if (this.#mode === "closed") return;
    this.#mode = "on";
    // A link that a pause is still closing is followed by the next attempt when it is gone.
    if (this.#link !== null || this.#cancelWait !== null) return;
    this.#dial();
  }

  /** The peer accepted us: after 10 s of it the back-off starts anew. */
  settled(): void {
    this.#lostAt = null;
    this.#cancelStable = this.#clock.setTimer(STABLE_MS, () => this.#attempt = 0);
  }

  /** The peer refused our credentials: the next attempt comes after a minute. */
  rejected(): void {
    this.#rejected = true;
    this.#link?.close();
  }

  /** Drops the link, if any, and dials again after the jittered delay. */
  drop(reason: string): void {
    this.#link?.close(1000, reason.slice(0, 100));
  }

  /** Drops the link, if any, and dials no more until {@linkcode start}. Resolves once the link is gone. */
  async pause(reason: string): Promise<void> {
    if (this.#mode === "closed") return;
    this.#mode = "paused";
    this.#cancelWait?.();
    this.#cancelWait = null;
    const link = this.#link;
    link?.close(1000, reason.slice(0, 100));
    await link?.closed;
  }

  /** Ends for good. */
  async close(): Promise<void> {
    this.#mode = "closed";
    this.#cancelWait?.();
    this.#cancelWait = null;
    this.#cancelStable?.();
    const link = this.#link;
    link?.close();
    await link?.closed;
  }

  #dial(): void {
    this.#rejected = false;
    this.#events.connecting(this.#attempt);
    const link: Link = dial(this.#url, {
      headers: this.#headers(),
      clock: this.#clock,
      events: {
        open: () => this.#events.open(link),
        text: (data) => this.#events.text(link, data),
      },
    });
    this.#link = link;
    void link.closed.then((end) => this.#lost(end));
  }

  #lost(end: LinkEnd): void {
    this.#link = null;
    this.#cancelStable?.();
    this.#cancelStable = null;
    if (this.#mode === "closed") return;
    const now = this.#clock.mono();
    this.#lostAt ??= now;
    const auth = this.#rejected || end.code === 4401 || (end.code === 1008 && /token/i.test(end.reason)) ||
      (!end.opened && /\b40[13]\b/.test(end.reason));
    const attempt = this.#attempt++;
    const takeover = this.#loopback && !auth && now - this.#lostAt < TAKEOVER_MS;
    const delayMs = auth ? AUTH_MS * (0.5 + this.#random() / 2) : fullJitter({
      attempt,
      baseMs: BASE_MS,
      capMs: takeover ? TAKEOVER_CAP_MS : CAP_MS,
      random: this.#random(),
    });
    this.#events.waiting({ end, auth, attempt, delayMs });
    if (this.#mode !== "on") return;
    this.#cancelWait = this.#clock.setTimer(delayMs, () => {
      this.#cancelWait = null;
      this.#dial();
    });
  }
}
