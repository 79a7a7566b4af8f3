import { join } from "@std/path";
import type { SeededRandom } from "../support/random.ts";
import { pause } from "../support/temp.ts";
import type { ChaosAgent } from "./agent.ts";
import { FAULTS } from "./catalogue.ts";
import type { Fault, FaultContext } from "./faults.ts";
import type { World } from "./world.ts";

/** A violent end of something, for the bounds of duplicates and the count of kills in flight. */
export interface Crash {
  agent: string;
  what: string;
  at: number;
}

/** Breaks things by a seeded schedule. */
export class Nemesis {
  readonly fired = new Map<string, number>();
  readonly crashes: Crash[] = [];
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #maxMs: number;
  readonly #busy = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #heal = new AbortController();

  constructor(world: World, options: { random: SeededRandom; maxMs: number }) {
    this.#world = world;
    this.#random = options.random;
    this.#maxMs = options.maxMs;
  }

  get total(): number {
    return [...this.fired.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Fires about `count` faults, some in pairs, then waits until everything it broke is mended. */
  async round(count: number, pauseMs: number): Promise<void> {
    this.#heal = new AbortController();
    for (let fired = 0, tries = 0; fired < count && tries < count * 5; tries++) {
      if (this.#fire()) fired++;
      if (this.#random.chance(0.3) && this.#fire()) fired++;
      await new Promise((resolve) => setTimeout(resolve, this.#random.between(0.3, 1.7) * pauseMs));
    }
    this.#heal.abort();
    await Promise.all(this.#running);
  }

  /** The history of a world, for whoever looks into a failure. */
  #tell(event: Record<string, string>): void {
    const line = JSON.stringify({ at: new Date().toISOString(), ...event }) + "\n";
    Deno.writeTextFileSync(join(this.#world.options.dir, "faults.jsonl"), line, { append: true });
  }

  /** Breaks one thing; false when nothing fits now. */
  #fire(): boolean {
    const random = this.#random;
    const world = this.#world;
    const agent = random.pick(world.agents);
    const possible = FAULTS.filter((fault) =>
      (fault.fits?.(world, agent) ?? true) && !this.#busy.has(placeOf(fault, agent))
    );
    const fault = weighted(possible, random);
    if (fault === null) return false;
    const place = placeOf(fault, agent);
    this.#busy.add(place);
    const { signal } = this.#heal;
    const context: FaultContext = {
      world,
      agent,
      random: random.fork(),
      maxMs: this.#maxMs,
      hold: (ms) => pause(ms, signal),
      crashed: (what) => this.crashes.push({ agent: agent.id, what, at: Date.now() }),
    };
    this.#tell({ fault: fault.kind, place, what: "begins" });
    const running = fault.run(context).then((fired) => {
      this.#tell({ fault: fault.kind, place, what: fired ? "ended" : "did not happen" });
      if (fired) this.fired.set(fault.kind, (this.fired.get(fault.kind) ?? 0) + 1);
    }, (error) => {
      world.problems.push(
        `fault ${fault.kind} broke the harness: ${error instanceof Error ? error.stack : error}`,
      );
    }).finally(() => {
      this.#busy.delete(place);
      this.#running.delete(running);
    });
    this.#running.add(running);
    return true;
  }
}

function placeOf(fault: Fault, agent: ChaosAgent): string {
  return fault.place === "relay" ? "relay" : `${fault.place} ${agent.id}`;
}

function weighted(faults: readonly Fault[], random: SeededRandom): Fault | null {
  let at = random.next() * faults.reduce((sum, fault) => sum + fault.weight, 0);
  for (const fault of faults) {
    at -= fault.weight;
    if (at < 0) return fault;
  }
  return faults.at(-1) ?? null;
}
