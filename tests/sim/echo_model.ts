import type { Delivery, ProbeResult, ProviderEvent, ProviderLaunch } from "../../lib/providers/contract.ts";
import type { Waiting } from "./agent_model.ts";
import { ProcessModel } from "./process_model.ts";
import { afterHanding } from "./handing.ts";
import type { World } from "./world.ts";

/** The built-in echo agent: many deliveries in flight, answered one after another, each written down first. */
export class EchoModel extends ProcessModel {
  protected readonly pace = { placedMs: 1, seenMs: 2, turnMs: 20 };
  readonly #waiting: Waiting[] = [];
  #open = 0;

  constructor(world: World, launch: ProviderLaunch, emit: (event: ProviderEvent) => void) {
    super(world, launch, emit);
    // Its record is one file for all processes.
    this.conversation = "echo";
    this.agent.records(this.conversation);
    this.later(world.random.between(10, 200), () => {
      this.ready = true;
      this.emit({ type: "ready", resume: null });
    });
  }

  deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    return afterHanding(this, delivery, signal, (waiting) => {
      this.held.add(waiting.deliveryId);
      if (this.#open++ === 0) this.setActivity("busy");
      this.#waiting.push(waiting);
      this.later(1, () => this.#next());
    });
  }

  #next(): void {
    if (this.running.size > 0) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    this.startTurn(waiting, () => {
      if (--this.#open === 0) this.setActivity("idle");
      this.later(0, () => this.#next());
    });
  }

  probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = this.recorded(deliveryIds);
    for (const [id, { state }] of results) {
      if (state === "absent" && this.held.has(id)) {
        results.set(id, { state: "placed", evidence: "in the input of the echo agent" });
      }
    }
    return new Promise((resolve) => this.world.machine.later(5, () => resolve(results)));
  }

  interrupt(): Promise<void> {
    return Promise.resolve();
  }
}
