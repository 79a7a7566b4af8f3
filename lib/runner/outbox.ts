import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { CommandUpdatePayload } from "../protocol/frames.ts";
import type { StageReport } from "../protocol/message.ts";
import type { CallFailure, RelayBus } from "../sdk/contract.ts";

/** Stage reports kept while the relay is away or slow; beyond it they are shortened to {@linkcode REPORT_KEPT}. */
const REPORT_LIMIT = 20_000;
const REPORT_KEPT = 18_000;
/** Stages that a later one implies; `acked` the relay knows by itself. */
const LESSER: ReadonlySet<string> = new Set(["received", "claimed", "handed", "placed", "acked"]);
const REPORT_BATCH = 500;
const UPDATE_LIMIT = 1_000;
/**
 * How long lesser stages wait for what follows them: the relay commits every report, and where a turn is short, one
 * commit for `received` is the one for which the ack of the same message would have to wait.
 */
const GATHER_MS = 20;
/** Wait after a call that was not answered on a link that stands. */
const RETRY_MS = 2_000;

/** What an outbox works with. */
export interface OutboxPorts {
  bus: Pick<RelayBus, "transportState" | "updateCommand" | "reportStages">;
  log: Log;
  clock: Clock;
}

/** A stage report with the store that its message id belongs to. */
export interface StoreReport {
  storeId: string;
  report: StageReport;
}

/**
 * Sends what the relay should know but nobody waits for: stage reports in batches and command updates in
 * order. Keeps them while the bus is down and sends them again after a failure.
 */
export class Outbox {
  readonly #bus: OutboxPorts["bus"];
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #told: (commandId: string) => void;
  #reports: StoreReport[] = [];
  #updates: CommandUpdatePayload[] = [];
  #dropped = 0;
  /** Reports at the front that wait for nothing; lesser stages behind them may. */
  #due = 0;
  /** Reports at the front that were sent and not answered. */
  #underWay = 0;
  #pumping: Promise<void> | null = null;
  #cancelRetry: (() => void) | null = null;
  #cancelGather: (() => void) | null = null;
  #stopped = false;

  /** `told` is called when the relay has the final answer to a command. */
  constructor(ports: OutboxPorts, told: (commandId: string) => void = () => {}) {
    this.#bus = ports.bus;
    this.#log = ports.log;
    this.#clock = ports.clock;
    this.#told = told;
  }

  /** Queues stage reports. */
  report(reports: readonly StoreReport[]): void {
    for (const report of reports) this.#reports.push(report);
    if (this.#reports.length > REPORT_LIMIT) this.#shorten();
    const full = this.#stopped || this.#reports.length >= REPORT_BATCH;
    if (full || reports.some(({ report }) => !LESSER.has(report.stage))) this.flush();
    else this.#cancelGather ??= this.#clock.setTimer(GATHER_MS, () => this.flush());
  }

  /** Leaves out first what a later line of the same message says as well, then the oldest. */
  #shorten(): void {
    // What is on its way stays where it is until its answer comes.
    const sent = this.#reports.slice(0, this.#underWay);
    const telling = this.#reports.slice(this.#underWay).filter((each) => !LESSER.has(each.report.stage));
    const kept = [...sent, ...telling.slice(-(REPORT_KEPT - sent.length))];
    const left = this.#reports.length - kept.length;
    if (this.#dropped === 0) {
      this.#log.warn("the relay takes reports too slowly, lesser stages are left out of receipts", { left });
    }
    this.#dropped += left;
    this.#reports = kept;
  }

  /** Queues a command update; updates are sent in order. */
  update(update: CommandUpdatePayload): void {
    if (this.#updates.length < UPDATE_LIMIT) this.#updates.push(update);
    this.flush();
  }

  /** True when no command update waits. */
  get empty(): boolean {
    return this.#updates.length === 0;
  }

  /** Sends what is queued, if the bus is up. Called by the owner whenever the bus comes up. */
  flush(): Promise<void> {
    this.#cancelGather?.();
    this.#cancelGather = null;
    this.#due = this.#reports.length;
    this.#pumping ??= this.#pump();
    return this.#pumping;
  }

  /** Retries nothing any more; what is queued can still be flushed. */
  stop(): void {
    this.#stopped = true;
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    if (this.#cancelGather !== null) this.flush();
  }

  /** The link stands and a call went unanswered: no event of the bus will tell when to try again. */
  #retryLater(): void {
    if (this.#stopped || this.#cancelRetry !== null) return;
    this.#cancelRetry = this.#clock.setTimer(RETRY_MS, () => {
      this.#cancelRetry = null;
      void this.flush();
    });
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
    for (;;) {
      const transport = this.#bus.transportState;
      if (transport.state !== "registered") return;
      if (this.#updates.length > 0) {
        const sent = await this.#bus.updateCommand(this.#updates[0]!);
        if (!sent.ok && !isRefused(sent)) return this.#retryLater();
        const { commandId, status } = this.#updates.shift()!;
        if (status === "succeeded" || status === "failed") this.#told(commandId);
      } else if (this.#due > 0) {
        const batch = this.#reports.slice(0, REPORT_BATCH);
        const { storeId } = transport.registered;
        // A relay that began anew has other messages under the same ids.
        const reports = batch.flatMap((each) => each.storeId === storeId ? [each.report] : []);
        this.#underWay = batch.length;
        const sent = reports.length === 0
          ? { ok: true as const, value: null }
          : await this.#bus.reportStages(reports);
        this.#underWay = 0;
        if (!sent.ok && !isRefused(sent)) return this.#retryLater();
        if (!sent.ok) this.#log.warn("the relay refused stage reports", { reason: sent.message });
        this.#reports.splice(0, batch.length);
        this.#due = Math.max(0, this.#due - batch.length);
      } else {
        return;
      }
    }
  }
}

/** True for an answer that stays the same however often it is asked for; what waits behind it must not wait for ever. */
function isRefused({ kind }: CallFailure): boolean {
  return kind === "rejected" || kind === "auth";
}
