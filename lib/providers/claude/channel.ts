import { join } from "@std/path";
import { ensurePrivateDir, writeFileAtomic } from "../../base/private_file.ts";
import type { Delivery, MonitorPort, ProviderLaunch } from "../contract.ts";
import { fitsNotice, noticeLine } from "./notice.ts";

/** Longest line that the session socket takes. */
const LINE_BYTES = 1024 * 1024;
/** Longest path of a Unix socket. */
const SOCKET_PATH_BYTES = 100;
const PRIORITY = { now: "now", next: "next", idle: "later" } as const;

/** A message that this channel can never carry. */
export class Undeliverable extends Error {}

/** One rung of the ladder: how messages get into an agent in a terminal. */
export interface Channel {
  /** What the log and the bus call it. */
  readonly name: "session socket" | "plugin monitor";
  /** Path of the session socket, null on another rung. */
  readonly socketPath: string | null;
  /** File with the text of a delivery, for channels that carry a pointer. */
  pathOf(deliveryId: string): string | null;
  /** Hands over. Rejects with {@linkcode Undeliverable} when no later attempt could do better. */
  deliver(delivery: Delivery, signal: AbortSignal): Promise<void>;
  /** The delivery's turn is over. */
  over(deliveryId: string): void;
  /** Removes its files. */
  dispose(): void;
}

/** The session socket of Claude Code (2.1.330): whole text, wakes an idle session, leaves a half-typed line alone. */
export class SocketChannel implements Channel {
  readonly name = "session socket";
  readonly socketPath: string;
  readonly #temporary: string | null;

  constructor({ stateDir, incarnation }: Pick<ProviderLaunch, "stateDir" | "incarnation">) {
    // A name of its own per start: the session file of a killed one must not be taken for the new one's.
    const usual = join(stateDir, `claude-${incarnation}.sock`);
    const fits = new TextEncoder().encode(usual).length <= SOCKET_PATH_BYTES;
    this.#temporary = fits ? null : Deno.makeTempDirSync({ prefix: "relay-" });
    this.socketPath = this.#temporary === null ? usual : join(this.#temporary, "c.sock");
  }

  pathOf(): null {
    return null;
  }

  async deliver({ deliveryId, text, when }: Delivery): Promise<void> {
    const line = JSON.stringify({
      type: "user",
      uuid: deliveryId,
      msg_id: deliveryId,
      priority: PRIORITY[when],
      message: { role: "user", content: text },
    }) + "\n";
    const bytes = new TextEncoder().encode(line);
    // Claude closes the connection on a longer line.
    if (bytes.length > LINE_BYTES) {
      throw new Undeliverable("longer than the 1 MiB that claude's session socket takes");
    }
    const socket = await Deno.connect({ transport: "unix", path: this.socketPath });
    try {
      for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
      await socket.closeWrite();
      // Claude answers nothing; it closes its side once it has read everything.
      await socket.read(new Uint8Array(1));
    } finally {
      socket.close();
    }
  }

  over(): void {}

  dispose(): void {
    remove(this.socketPath);
    if (this.#temporary !== null) remove(this.#temporary);
  }
}

/**
 * The monitor of the plugin: one line a message points the model to a 0600 file with the text. The line proves that
 * the model was told; only a tool result with the file proves that it has the text.
 */
export class MonitorChannel implements Channel {
  readonly name = "plugin monitor";
  readonly socketPath = null;
  /** Directory of the texts; the agent must be allowed to read it. */
  readonly dir: string;
  readonly #monitor: MonitorPort;

  constructor({ stateDir }: Pick<ProviderLaunch, "stateDir">, monitor: MonitorPort) {
    this.#monitor = monitor;
    const usual = join(stateDir, "mail");
    const longest = join(usual, `${crypto.randomUUID()}.txt`);
    this.dir = fitsNotice(longest) ? usual : Deno.makeTempDirSync({ prefix: "relay-" });
    // What an earlier start left there is delivered anew or over.
    remove(this.dir);
    ensurePrivateDir(this.dir);
  }

  pathOf(deliveryId: string): string {
    return join(this.dir, `${deliveryId}.txt`);
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const { deliveryId, messageId, from, text } = delivery;
    const path = this.pathOf(deliveryId);
    const bytes = new TextEncoder().encode(text).length;
    const line = noticeLine({ deliveryId, messageId, from, bytes, path });
    writeFileAtomic(path, text);
    await this.#monitor.deliver(deliveryId, [{ messageId: String(messageId), line }], signal);
  }

  over(deliveryId: string): void {
    remove(this.pathOf(deliveryId));
  }

  dispose(): void {
    remove(this.dir);
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch { /* it is not there */ }
}
