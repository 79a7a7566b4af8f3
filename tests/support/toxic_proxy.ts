import { pause } from "./temp.ts";
import { FrameCutter } from "./ws_frames.ts";

/** What is wrong with a line. One at a time; `none` lets bytes pass. */
export type Toxic =
  | { kind: "none" }
  | { kind: "latency"; ms: number; jitterMs: number }
  /** Bytes per second. */
  | { kind: "bandwidth"; rate: number }
  /** Closing is passed on only after this time. */
  | { kind: "slow_close"; ms: number }
  /** Nothing passes and nothing closes: packets fall into a hole. */
  | { kind: "timeout" }
  /** Connections are reset at the next byte. */
  | { kind: "reset_peer" }
  /** One byte at a time. */
  | { kind: "slicer" }
  /** Each direction is cut after so many bytes. */
  | { kind: "limit_data"; bytes: number }
  /** Nobody listens: connections are refused and those that exist are gone. */
  | { kind: "down" }
  /** The client's sending half is closed towards the server. */
  | { kind: "half_close" }
  /** Every n-th text frame of a WebSocket goes twice. */
  | { kind: "duplicate"; every: number };

export const TOXICS = [
  "latency",
  "bandwidth",
  "slow_close",
  "timeout",
  "reset_peer",
  "slicer",
  "limit_data",
  "down",
  "half_close",
  "duplicate",
] as const;

/** A line between two ends of TCP on the loopback, with faults on demand. */
export class ToxicProxy {
  readonly port: number;
  readonly #upstream: number;
  readonly #random: () => number;
  readonly #lines = new Set<Line>();
  #listener: Deno.TcpListener | null = null;
  #toxic: Toxic = { kind: "none" };
  #changed = new AbortController();
  /** Wall-clock times at which a client opened, and at which one gave up, a connection. */
  readonly opened: number[] = [];
  readonly clientEnded: number[] = [];
  duplicated = 0;

  constructor(upstream: number, random: () => number) {
    this.#upstream = upstream;
    this.#random = random;
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = listener.addr.port;
    this.#accept(listener);
  }

  get toxic(): Toxic {
    return this.#toxic;
  }

  get connections(): number {
    return this.#lines.size;
  }

  /** Changes what is wrong; takes effect on connections that exist too. */
  set(toxic: Toxic): void {
    const was = this.#toxic;
    this.#toxic = toxic;
    this.#changed.abort();
    this.#changed = new AbortController();
    if (toxic.kind === "down") {
      this.#listener?.close();
      this.#listener = null;
      this.cut();
    } else if (this.#listener === null) {
      this.#accept(Deno.listen({ hostname: "127.0.0.1", port: this.port }));
    }
    if (toxic.kind === "half_close") { for (const line of this.#lines) line.halfClose(); }
    // What fell into the hole is gone for good; such a connection can only end.
    if (was.kind === "timeout" && toxic.kind !== "timeout") this.cut();
  }

  /** Ends every connection at once, as the death of a proxy does. */
  cut(): void {
    for (const line of [...this.#lines]) line.end();
  }

  close(): void {
    this.#listener?.close();
    this.#listener = null;
    this.#changed.abort();
    this.cut();
  }

  #accept(listener: Deno.TcpListener): void {
    this.#listener = listener;
    (async () => {
      for await (const client of listener) void this.#serve(client);
    })().catch(() => {/* closed */});
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    this.opened.push(Date.now());
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", port: this.#upstream });
    } catch {
      return client.close();
    }
    const line = new Line(client, server);
    this.#lines.add(line);
    const up = this.#pipe(client, server, line).finally(() => this.clientEnded.push(Date.now()));
    await Promise.all([up, this.#pipe(server, client, line)]);
    if (this.#toxic.kind === "slow_close") await this.#wait(this.#toxic.ms);
    line.end();
    this.#lines.delete(line);
  }

  async #pipe(from: Deno.TcpConn, to: Deno.TcpConn, line: Line): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    const cutter = new FrameCutter();
    let passed = 0;
    let frames = 0;
    try {
      for (;;) {
        const read = await from.read(buffer);
        if (read === null) break;
        const bytes = buffer.slice(0, read);
        if (from === line.client) this.#rename(bytes);
        const pieces = cutter.push(bytes);
        const toxic = this.#toxic;
        switch (toxic.kind) {
          case "latency":
            await this.#wait(toxic.ms + this.#random() * toxic.jitterMs);
            break;
          case "bandwidth":
            await this.#wait((read * 1000) / toxic.rate);
            break;
          case "timeout":
            continue;
          case "reset_peer":
            return line.end();
          case "slicer":
            for (const byte of bytes) await writeAll(to, Uint8Array.of(byte));
            continue;
          case "limit_data":
            passed += read;
            if (passed > toxic.bytes) return line.end();
            break;
        }
        await writeAll(to, bytes);
        // A repeat can be put in only where a frame has just ended.
        const whole = pieces.at(-1);
        if (toxic.kind === "duplicate" && cutter.empty && whole?.text && ++frames % toxic.every === 0) {
          this.duplicated++;
          await writeAll(to, whole.bytes);
        }
      }
      if (this.#toxic.kind === "slow_close") await this.#wait(this.#toxic.ms);
      await to.closeWrite();
    } catch {
      line.end();
    }
  }

  /** Servers that check their Host know nothing of a proxy: the port in it is put right. Both have the same length. */
  #rename(bytes: Uint8Array): void {
    const search = `\r\nhost: 127.0.0.1:${this.port}\r\n`;
    const text = new TextDecoder("latin1").decode(bytes.subarray(0, 4_096));
    const at = text.toLowerCase().indexOf(search);
    if (at < 0 || String(this.#upstream).length !== String(this.port).length) return;
    bytes.set(
      new TextEncoder().encode(String(this.#upstream)),
      at + search.length - 2 - String(this.port).length,
    );
  }

  /** Resolves after the time, or as soon as something else is wrong. */
  #wait(ms: number): Promise<void> {
    return pause(ms, this.#changed.signal);
  }
}

class Line {
  #over = false;

  constructor(readonly client: Deno.TcpConn, readonly server: Deno.TcpConn) {}

  halfClose(): void {
    this.server.closeWrite().catch(() => {});
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const side of [this.client, this.server]) {
      try {
        side.close();
      } catch { /* closed */ }
    }
  }
}

async function writeAll(to: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}
