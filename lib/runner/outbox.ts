import type { Log } from "../base/log.ts";
import type { CommandUpdatePayload } from "../protocol/frames.ts";
import type { StageReport } from "../protocol/message.ts";
import type { RelayBus } from "../sdk/contract.ts";

/** Stage reports kept while the relay is away; the oldest are dropped beyond it and the drop is logged. */
const REPORT_LIMIT = 20_000;
const REPORT_BATCH = 500;
const UPDATE_LIMIT = 1_000;

/**
 * Sends what the relay should know but nobody waits for: stage reports in batches and command updates in
 * order. Keeps them while the bus is down and sends them again after a failure.
 */
export class Outbox {
  readonly #bus: RelayBus;
  readonly #log: Log;
  #reports: StageReport[] = [];
  #updates: CommandUpdatePayload[] = [];
  #dropped = 0;
  #pumping: Promise<void> | null = null;

  constructor(bus: RelayBus, log: Log) {
    this.#bus = bus;
    this.#log = log;
  }

  /** Queues stage reports. */
  report(reports: StageReport[]): void {
    for (const report of reports) this.#reports.push(report);
    const over = this.#reports.length - REPORT_LIMIT;
    if (over > 0) {
      this.#reports.splice(0, over);
      if (this.#dropped === 0) this.#log.warn("stage reports dropped, the relay is away for long", { over });
      this.#dropped += over;
    }
    this.flush();
  }

  /** Queues a command update; updates are sent in order. */
  update(update: CommandUpdatePayload): void {
    if (this.#updates.length < UPDATE_LIMIT) this.#updates.push(update);
    this.flush();
  }

  /** Sends what is queued, if the bus is up. Called by the owner whenever the bus comes up. */
  flush(): Promise<void> {
    this.#pumping ??= this.#pump();
    return this.#pumping;
  }

  async #pump(): Promise<void> {
    // Begins after the caller's turn and ends in the very step that found the queue empty: whatever is queued
    // at any moment is either seen by this loop or starts the next one.
    await null;
    try {
      await this.#sendAll();
    } finally {
      this.#pumping = null;
    }
  }

  async #sendAll(): Promise<void> {
    while (this.#bus.transportState.state === "registered") {
      if (this.#updates.length > 0) {
        const sent = await this.#bus.updateCommand(this.#updates[0]!);
        if (!sent.ok && sent.kind !== "rejected") return;
        this.#updates.shift();
      } else if (this.#reports.length > 0) {
        const batch = this.#reports.slice(0, REPORT_BATCH);
        const sent = await this.#bus.reportStages(batch);
        if (!sent.ok && sent.kind !== "rejected") return;
        if (!sent.ok) this.#log.warn("the relay refused stage reports", { reason: sent.message });
        this.#reports.splice(0, batch.length);
      } else {
        return;
      }
    }
  }
}
