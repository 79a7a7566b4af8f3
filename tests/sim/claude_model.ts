import type { Delivery, ProbeResult, ProviderEvent, ProviderLaunch } from "../../lib/providers/contract.ts";
import type { Waiting } from "./agent_model.ts";
import { ProcessModel } from "./process_model.ts";
import { afterHanding } from "./handing.ts";
import type { World } from "./world.ts";

/** How long the adapter waits for the result of a delivery that Claude says it has had already. */
const RESULT_MS = 2_000;
/** A Stop hook that never came is made up for by the session file within this time. */
const RECONCILE_MS = 60_000;

/** More than it takes until the runner gives no more messages to an agent that takes them and does nothing. */
const AWAY_MS = 150_000;

/**
 * Claude Code as measured (2.1.330): lines queue in the process and die with it; a uuid that the conversation holds is
 * never run again; a turn that was cut is not taken up; a result or a Stop may be missing.
 */
export class ClaudeModel extends ProcessModel {
  protected readonly pace = { placedMs: 30, seenMs: 150, turnMs: 700 };
  readonly #waiting: Waiting[] = [];

  constructor(world: World, launch: ProviderLaunch, emit: (event: ProviderEvent) => void) {
    super(world, launch, emit);
    this.later(world.random.between(50, 1_500), () => {
      this.ready = true;
      this.emit({ type: "ready", resume: this.conversation });
    });
  }

  deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    return afterHanding(this, delivery, signal, (waiting) => this.#arrived(waiting));
  }

  #arrived(waiting: Waiting): void {
    const { deliveryId } = waiting;
    // It lives, says that it is idle, and reads no line any more.
    const rests = this.running.size === 0 && this.#waiting.length === 0;
    if (rests && this.world.faults.fires("provider.deaf")) {
      this.deaf = true;
      // Nobody ends a person's terminal for them: they had suspended it, say, and are back.
      if (!this.world.plan.headless) this.later(AWAY_MS, () => this.deaf = false);
    }
    if (this.deaf) return;
    this.held.add(deliveryId);
    if (this.agent.records(this.conversation).has(deliveryId)) {
      this.emit({ type: "evidence", deliveryId, stage: "placed", evidence: "replay" });
      this.later(RESULT_MS, () => {
        this.held.delete(deliveryId);
        this.emit({
          type: "failed",
          deliveryIds: [deliveryId],
          failure: "cancelled",
          reason: "not run again",
        });
      });
      return;
    }
    // Accepted, and not in the transcript yet.
    if (this.world.faults.fires("provider.dies.early")) {
      return this.later(this.world.random.between(0, 30), () => this.die({ code: 1, signal: null }));
    }
    this.#waiting.push(waiting);
    this.later(this.world.random.between(1, 40), () => this.#next());
  }

  #next(): void {
    if (this.running.size > 0) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return this.#idle();
    this.startTurn(waiting, () => this.#next());
  }

  #idle(): void {
    const { faults, random } = this.world;
    if (!faults.fires("stop.late")) return this.setActivity("idle");
    this.later(random.chance(0.5) ? random.between(100, 20_000) : RECONCILE_MS, () => {
      if (this.running.size === 0) this.setActivity("idle");
    });
  }

  protected override losesResult(): boolean {
    return this.world.faults.fires("result.lost");
  }

  probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    const asked: string[] = [];
    for (const id of deliveryIds) {
      if (this.held.has(id) && this.activity !== "idle") {
        results.set(id, { state: "placed", evidence: "held by the running claude" });
      } else asked.push(id);
    }
    for (const [id, result] of this.recorded(asked)) results.set(id, result);
    const slow = this.world.faults.fires("probe.slow");
    return new Promise((resolve) =>
      this.world.machine.later(slow ? this.world.random.between(5_000, 28_000) : 10, () => resolve(results))
    );
  }

  interrupt(): Promise<void> {
    if (this.running.size > 0 && !this.world.faults.fires("interrupt.ignored")) {
      this.later(this.world.random.between(10, 1_000), () => this.interruptTurns(() => this.#next()));
    }
    return new Promise((resolve) => this.world.machine.later(1_000, resolve));
  }
}
