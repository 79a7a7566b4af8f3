import { join } from "@std/path";
import { RelayHttpClient } from "agent-relay-sdk";
import { OracleFile } from "../support/oracle.ts";
import type { SeededRandom } from "../support/random.ts";

/** One message as its sender remembers it. */
export interface Posted {
  mark: string;
  to: string;
  claimable: boolean;
  bytes: number;
  sentAt: number;
  /** Its id at the relay; null while nobody knows whether the relay took it. */
  id: number | null;
  recipients: string[];
}

/** A client that sends all the time, remembers what it sent, and never believes that an unanswered send was lost. */
export class Poster {
  readonly posted = new Map<string, Posted>();
  readonly #http: RelayHttpClient;
  readonly #random: SeededRandom;
  readonly #oracle: OracleFile;
  readonly #world: string;
  readonly #targets: readonly string[];
  #sending: Promise<void> | null = null;
  #stop = false;
  #closed = false;
  unknown = 0;
  refused = 0;

  constructor(
    options: {
      url: string;
      token: string;
      dir: string;
      world: string;
      targets: readonly string[];
      random: SeededRandom;
    },
  ) {
    this.#http = new RelayHttpClient({ url: options.url, token: options.token });
    this.#random = options.random;
    this.#world = options.world;
    this.#targets = options.targets;
    this.#oracle = new OracleFile(join(options.dir, "posted.jsonl"));
  }

  /** Sends about `perSecond` messages until {@linkcode pause}. */
  begin(perSecond: number): void {
    this.#stop = false;
    this.#sending = (async () => {
      while (!this.#stop) {
        await this.#send(this.#next());
        await new Promise((resolve) =>
          setTimeout(resolve, this.#random.between(0.2, 1.8) * 1000 / perSecond)
        );
      }
    })();
  }

  /** Stops sending; resolves once the send under way has ended. */
  async pause(): Promise<void> {
    this.#stop = true;
    await this.#sending;
  }

  /** Sends again whatever has no answer yet; the key makes sure that it is stored once. */
  async resolve(): Promise<boolean> {
    let open = 0;
    for (const message of this.posted.values()) {
      if (message.id === null && !await this.#send(message)) open++;
    }
    return open === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#oracle.close();
  }

  #next(): Posted {
    const random = this.#random;
    const claimable = random.chance(0.5);
    const size = random.next();
    const bytes = size < 0.1
      ? 0
      : size < 0.8
      ? random.int(1, 2_000)
      : size < 0.98
      ? random.int(2_000, 64_000)
      : random.int(64_000, 900_000);
    const message: Posted = {
      mark: `mark-${this.#world}-${this.posted.size}`,
      to: claimable ? "tag:work" : random.chance(0.1) ? "broadcast" : random.pick(this.#targets),
      claimable,
      bytes,
      sentAt: Date.now(),
      id: null,
      recipients: [],
    };
    this.posted.set(message.mark, message);
    this.#oracle.append({ type: "intent", mark: message.mark, to: message.to, claimable, bytes });
    return message;
  }

  async #send(message: Posted): Promise<boolean> {
    const result = await this.#http.send({
      from: "poster",
      to: message.to,
      subject: message.mark,
      body: "x".repeat(message.bytes),
      claimable: message.claimable,
      idempotencyKey: message.mark,
      queue: true,
    });
    if (result.ok) {
      message.id = result.value.message.id;
      message.recipients = result.value.recipients;
      this.#oracle.append({ type: "stored", mark: message.mark, id: message.id });
      return true;
    }
    if (result.kind === "rejected") {
      this.refused++;
      this.posted.delete(message.mark);
      this.#oracle.append({ type: "refused", mark: message.mark, reason: result.message });
      return true;
    }
    this.unknown++;
    return false;
  }
}
