import { join } from "@std/path";
import { RelayBusClient, RelayHttpClient } from "agent-relay-sdk";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import type { ClaimResult } from "../../lib/sdk/contract.ts";
import type { Message } from "../../lib/protocol/message.ts";
import { OracleFile } from "../support/oracle.ts";
import type { SeededRandom } from "../support/random.ts";

/** Of a lease, so much must be left when the rival says that it is done. */
const MARGIN_MS = 1_000;

/** What the rival wrote down. */
export interface RivalRecord {
  at: number;
  type: "done";
  id: number;
  claimedAt: number;
}

/** Another agent on the bus that competes for claimable work and keeps the rules of a lease. */
export class Rival {
  readonly id: string;
  readonly #bus: RelayBusClient;
  readonly #http: RelayHttpClient;
  readonly #instanceId = crypto.randomUUID();
  readonly #random: SeededRandom;
  readonly #oracle: OracleFile;
  readonly #working = new Set<number>();
  #over = false;
  claims = 0;

  constructor(options: { url: string; token: string; dir: string; world: string; random: SeededRandom }) {
    this.id = `${options.world}-rival`;
    this.#random = options.random;
    this.#oracle = new OracleFile(join(options.dir, "rival.jsonl"));
    this.#http = new RelayHttpClient({ url: options.url, token: options.token });
    this.#bus = new RelayBusClient({
      url: options.url,
      token: options.token,
      registration: {
        role: "provider",
        componentId: `run-${this.id}`,
        agentId: this.id,
        instanceId: this.#instanceId,
        capabilities: [],
        tags: ["work"],
        machine: "rival",
        meta: {},
      },
      events: { message: (message) => void this.#offered(message) },
      clock: systemClock,
      random: this.#random.next,
      log: noLog,
    });
    this.#bus.setStatus({ agentStatus: "idle", ready: true });
    this.#bus.connect();
  }

  async #offered(message: Message): Promise<void> {
    if (!message.claimable) return await this.#read(message.id);
    // Not every offer is taken, or the agents under test would see none.
    if (this.#working.has(message.id) || this.#working.size > 2 || !this.#random.chance(0.25)) return;
    this.#working.add(message.id);
    try {
      await this.#wait(this.#random.between(0, 300));
      const askedAt = performance.now();
      const claimedAt = Date.now();
      const claim = await this.#claim(message.id);
      if (!claim?.ok) return;
      this.claims++;
      await this.#wait(this.#random.between(10, 800));
      if (performance.now() - askedAt > claim.value.leaseMs - MARGIN_MS) return;
      this.#oracle.append({ type: "done", id: message.id, claimedAt });
      await this.#read(message.id);
    } finally {
      this.#working.delete(message.id);
    }
  }

  /** Asks until it is known whether the claim was granted: one that nobody knows of holds the work up for a lease. */
  async #claim(id: number): Promise<ClaimResult | null> {
    while (!this.#over) {
      const by = { agentId: this.id, instanceId: this.#instanceId };
      const claim = await this.#http.claimMessage(id, by);
      if (claim.ok || (claim.kind !== "unavailable" && claim.kind !== "unknown")) return claim;
      await this.#wait(100);
    }
    return null;
  }

  async #read(id: number): Promise<void> {
    while (!this.#over) {
      const result = await this.#http.markRead(id, this.id);
      if (result.ok || result.kind === "rejected" || result.kind === "auth") return;
      await this.#wait(200);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** True when no work is under way. */
  get idle(): boolean {
    return this.#working.size === 0;
  }

  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    while (!this.idle) await this.#wait(20);
    await this.#bus.close();
    this.#oracle.close();
  }
}
