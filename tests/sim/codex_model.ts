import type { Delivery, ProbeResult, ProviderEvent, ProviderLaunch } from "../../lib/providers/contract.ts";
import { ProcessModel } from "./process_model.ts";
import { afterHanding } from "./handing.ts";
import type { World } from "./world.ts";

/**
 * Codex's app-server as measured (0.169.0): the thread's queue is durable and starts by itself when the thread is
 * taken up; an interrupt leaves it standing until it is started; one id given twice runs twice; the link may drop while
 * the server lives.
 */
export class CodexModel extends ProcessModel {
  protected readonly pace = { placedMs: 10, seenMs: 120, turnMs: 600 };
  #linked = true;
  #missed: ProviderEvent[] = [];

  constructor(world: World, launch: ProviderLaunch, emit: (event: ProviderEvent) => void) {
    super(world, launch, emit);
    this.agent.records(this.conversation);
    this.later(world.random.between(100, 1_500), () => {
      this.agent.paused = world.faults.fires("codex.paused");
      const wanted = this.agent.queue.filter(({ deliveryId }) => !launch.unwanted.includes(deliveryId));
      this.agent.queue.splice(0, Infinity, ...wanted);
      // What is queued starts with the resume, before anybody is told that the thread is there.
      this.#next();
      this.ready = true;
      this.emit({ type: "ready", resume: this.conversation });
    });
  }

  override emit(event: ProviderEvent): void {
    if (this.#linked) super.emit(event);
    else if (event.type !== "activity") this.#missed.push(event);
  }

  /** The link drops; what happened meanwhile is read from the thread when it is back. */
  drop(ms: number): void {
    if (!this.#linked) return;
    this.#linked = false;
    this.later(ms, () => {
      this.#linked = true;
      // The status comes with the resume, the turns that ended with the catching up.
      super.emit({ type: "activity", activity: this.activity });
      for (const event of this.#missed.splice(0)) super.emit(event);
    });
  }

  deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const overloaded = this.world.faults.fires("codex.overload");
    if (!this.#linked || overloaded) {
      return Promise.reject(new Error(overloaded ? "-32001 overloaded" : "link down"));
    }
    return afterHanding(this, delivery, signal, (waiting) => {
      this.held.add(waiting.deliveryId);
      this.agent.queue.push(waiting);
      if (this.agent.paused) this.later(20, () => this.#startQueue());
      else this.later(this.world.random.between(1, 20), () => this.#next());
    });
  }

  #startQueue(): void {
    this.agent.paused = false;
    this.#next();
  }

  #next(): void {
    if (this.running.size > 0) return;
    const waiting = this.agent.paused ? undefined : this.agent.queue.shift();
    if (waiting === undefined) return this.setActivity("idle");
    this.held.add(waiting.deliveryId);
    this.startTurn(waiting, () => this.later(1, () => this.#next()));
  }

  probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    const asked: string[] = [];
    for (const id of deliveryIds) {
      if (!this.#linked) {
        this.world.oracle.unreadable(id);
        results.set(id, { state: "unknown", reason: "link down" });
      } else if (this.agent.queue.some((waiting) => waiting.deliveryId === id)) {
        results.set(id, { state: "placed", evidence: "entry of thread/queue/list" });
      } else if (this.running.has(id)) {
        results.set(id, { state: "placed", evidence: "running turn of the thread" });
      } else asked.push(id);
    }
    for (const [id, result] of this.recorded(asked)) results.set(id, result);
    if (this.agent.queue.length > 0 && this.running.size === 0) this.later(5, () => this.#startQueue());
    const slow = this.world.faults.fires("probe.slow");
    return new Promise((resolve) =>
      this.world.machine.later(slow ? this.world.random.between(5_000, 28_000) : 10, () => resolve(results))
    );
  }

  interrupt(): Promise<void> {
    if (this.running.size > 0 && this.#linked && !this.world.faults.fires("interrupt.ignored")) {
      this.later(this.world.random.between(10, 1_000), () => {
        if (this.running.size === 0) return;
        this.agent.paused = true;
        this.interruptTurns(() => this.setActivity("idle"));
        // The adapter lets the queue go on: a turn was stopped, not the work behind it.
        this.later(20, () => this.#startQueue());
      });
    }
    return new Promise((resolve) => this.world.machine.later(1_000, resolve));
  }
}
