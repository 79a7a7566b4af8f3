import { AgentModel } from "./agent_model.ts";
import type { Case } from "./case.ts";
import { DiskModel } from "./disk_model.ts";
import type { Faults } from "./faults.ts";
import { Machine } from "./machine.ts";
import { Operator } from "./operator.ts";
import { Oracle } from "./oracle.ts";
import { type Plan, planOf, type Posting, type Without } from "./plan.ts";
import type { Random } from "./random.ts";
import { RelayModel } from "./relay_model.ts";
import { Rival } from "./rival.ts";
import { Timeline } from "./timeline.ts";

/** Virtual time between the last fault and the final check. */
const HEAL_MS = 300_000;
/** More events than any honest run needs: a run that reaches it spins. */
const EVENT_LIMIT = 100_000;

/** One seed's world: everything in it is simulated but the runner. */
export class World {
  readonly plan: Plan;
  readonly faults: Faults;
  readonly random: Random;
  readonly timeline = new Timeline();
  readonly machine: Machine;
  readonly relay: RelayModel;
  readonly agent = new AgentModel();
  readonly disk: DiskModel;
  readonly oracle: Oracle;
  readonly operator: Operator;
  /** Messages by key, in every store there was. */
  readonly cases = new Map<string, Case>();
  diskFull = false;
  /** Until then the runner cannot reach the relay; others can. */
  partitionedUntil = 0;
  events = 0;
  portCalls = 0;
  #endAt = Infinity;

  constructor(seed: number, without?: Without) {
    const { plan, faults, random } = planOf(seed, without);
    this.plan = plan;
    this.faults = faults;
    this.random = random;
    this.machine = new Machine(this.timeline, plan.drift);
    this.relay = new RelayModel(this.timeline, plan.leaseMs);
    this.oracle = new Oracle(this);
    this.operator = new Operator(this);
    this.disk = new DiskModel({
      fate: () => this.diskFull || faults.fires("disk.error") ? "error" : "ok",
      damages: (open) => {
        if (open.length === 0 || !faults.fires("disk.damage")) return null;
        const row = random.pick(open);
        this.oracle.damaged(row.key);
        return row;
      },
      committed: (before, row) => this.oracle.committed(before, row),
    });
    if (plan.rival) {
      new Rival(
        this,
        random.fork(7),
        plan.leaseMs,
        (id) => this.oracle.rivalDone(`${this.relay.storeId}/${id}`),
      );
    }
    this.operator.begin();
  }

  /** Deliveries in flight per provider session, as the production adapters have it. */
  get window(): number {
    return this.plan.provider === "echo" ? 64 : 1;
  }

  /** True when the runner's machine has a way to the relay. */
  get reachable(): boolean {
    return !this.relay.down && this.timeline.now >= this.partitionedUntil;
  }

  post(posting: Posting): void {
    if (this.relay.down) {
      this.timeline.after(500, () => this.post(posting));
      return;
    }
    const each = this.relay.post(posting);
    this.cases.set(each.key, each);
    this.oracle.posted();
  }

  /** Ends every fault. What the runner has to do about what happened is still ahead of it. */
  heal(): void {
    if (this.machine.asleep) return void this.timeline.at(this.machine.wakesAt + 1, () => this.heal());
    this.faults.heal();
    this.diskFull = false;
    this.partitionedUntil = 0;
    this.agent.fault = null;
    this.relay.start();
    this.operator.healed();
    this.#endAt = this.timeline.now + HEAL_MS;
  }

  #seen = { provider: "none", phase: "running" };

  /** Looks at the runner in every eighth seed, which is enough to see every way it goes. */
  get #observes(): boolean {
    return this.plan.seed % 8 === 0;
  }

  #observe(): void {
    const view = this.operator.host?.runner.view();
    const now = view === undefined
      ? { provider: "none", phase: "running" }
      : { provider: view.provider.state, phase: view.phase };
    for (const what of ["provider", "phase"] as const) {
      if (now[what] !== this.#seen[what] && view !== undefined) {
        this.oracle.tally.transition(`${what}: ${this.#seen[what]} > ${now[what]}`);
      }
    }
    this.#seen = now;
    if (view === undefined) return;
    if (view.inFlight > this.window) this.oracle.violated("I17", `${view.inFlight} messages are in flight`);
    if (view.queued > Math.max(this.plan.maxQueue, this.cases.size)) {
      this.oracle.violated("I17", `${view.queued} messages are queued`);
    }
  }

  /** Lets one thing happen; false when the run is over. */
  advance(): boolean {
    if (this.events >= EVENT_LIMIT) {
      this.oracle.violated("I12", `more than ${EVENT_LIMIT} events: the run spins`);
      return false;
    }
    if (this.#observes) this.#observe();
    if (this.oracle.violations.length > 0 || !this.timeline.advance(this.#endAt)) return false;
    this.events++;
    return true;
  }
}
