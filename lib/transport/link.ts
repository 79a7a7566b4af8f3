import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";

/** How a link ended, or why it never began. */
export interface LinkEnd {
  /**
   * Who ended it: the peer or the network; its owner, by `close` or by a handler that threw; or a deadline: no connection,
   * or a peer that does not read.
   */
  by: "peer" | "owner" | "handler" | "deadline";
  code: number;
  reason: string;
  opened: boolean;
}

/** One WebSocket, reduced to what a protocol client needs. */
export interface Link {
  /** False when the socket is gone or the peer does not read (more than 4 MiB wait): the link is dropped then. */
  send(text: string): boolean;
  /** Closes; `closed` resolves within a second even when the peer is stopped. Idempotent. */
  close(code?: number, reason?: string): void;
  /** Resolves when the link is over; never rejects. */
  readonly closed: Promise<LinkEnd>;
}

/** What a link tells its owner. Throws of the handlers are caught and end the link. */
export interface LinkEvents {
  open(): void;
  text(data: string): void;
}

/** Most bytes that may wait for a peer that does not read. */
const SEND_BUFFER = 4 * 1024 * 1024;
/** Connect and upgrade together. The platform's WebSocket has no such deadline (Deno 2.9.6, measured). */
const DIAL_MS = 10_000;
const CLOSE_MS = 1_000;

/** Dials a WebSocket. Returns at once; everything that happens comes through `events` and `closed`. */
export function dial(
  url: string,
  options: { headers: Record<string, string>; clock: Clock; events: LinkEvents },
): Link {
  const { clock, events, headers } = options;
  const ended = Promise.withResolvers<LinkEnd>();
  const cancels: (() => void)[] = [];
  let opened = false;
  let over = false;
  let closing: { code: number; reason: string } | null = null;
  let lastError = "";
  const socket = new WebSocket(url, { headers });

  const end = (by: LinkEnd["by"], code: number, reason: string) => {
    if (over) return;
    over = true;
    for (const cancel of cancels) cancel();
    socket.onopen = socket.onmessage = null;
    // Whether the peer answers a close or not, the owner's reason is the reason.
    ended.resolve(closing === null ? { by, code, reason, opened } : { by: "owner", ...closing, opened });
  };
  const abandon = (by: LinkEnd["by"], reason: string) => {
    // `close` on a socket whose peer is stopped never ends: the owner must not wait for it.
    try {
      socket.close();
    } catch { /* closing already */ }
    end(by, 1006, reason);
  };
  const guarded = (work: () => void) => {
    try {
      work();
    } catch (error) {
      abandon("handler", `handler failed: ${messageOf(error)}`);
    }
  };
  const cancelDial = clock.setTimer(DIAL_MS, () => abandon("deadline", "no connection within 10 s"));
  cancels.push(cancelDial);
  socket.onopen = () => {
    cancelDial();
    opened = true;
    guarded(() => events.open());
  };
  socket.onmessage = (event) => {
    if (over) return;
    if (typeof event.data === "string") guarded(() => events.text(event.data));
    else guarded(() => events.text(""));
  };
  socket.onerror = (event) => {
    if (event instanceof ErrorEvent) lastError = event.message;
  };
  socket.onclose = (event) => end("peer", event.code, event.reason || lastError);
  return {
    closed: ended.promise,
    send(text) {
      if (over || socket.readyState !== WebSocket.OPEN) return false;
      if (socket.bufferedAmount > SEND_BUFFER) {
        abandon("deadline", "the peer does not read");
        return false;
      }
      socket.send(text);
      return true;
    },
    close(code = 1000, reason = "") {
      if (over || closing !== null) return;
      closing = { code, reason };
      cancels.push(clock.setTimer(CLOSE_MS, () => end("owner", code, reason)));
      try {
        socket.close(code, reason);
      } catch {
        end("owner", code, reason);
      }
    },
  };
}
