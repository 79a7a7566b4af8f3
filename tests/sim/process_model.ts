import type { ExitStatus } from "../../lib/process/contract.ts";
import type {
  Activity,
  Delivery,
  FailureClass,
  ProbeResult,
  ProviderEvent,
  ProviderLaunch,
  ProviderSession,
} from "../../lib/providers/contract.ts";
import { type AgentModel, judgeTurn, type RecordRow, type Waiting } from "./agent_model.ts";
import type { Turn } from "./case.ts";
import type { World } from "./world.ts";

/** How fast a provider works. */
interface Pace {
  placedMs: number;
  seenMs: number;
  turnMs: number;
}

/** One process of a provider. What is common to all: turns, their stages, death, the record. */
export abstract class ProcessModel implements ProviderSession {
  readonly world: World;
  readonly agent: AgentModel;
  readonly incarnation: number;
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  alive = true;
  /** On the machine's monotonic clock. */
  diedAt = Infinity;
  ready = false;
  /** It takes deliveries and does nothing with them any more. */
  deaf = false;
  activity: Activity = "idle";
  conversation: string;
  /** Deliveries that arrived and whose end was not told. */
  readonly held = new Set<string>();
  protected readonly running = new Map<string, Turn>();
  readonly #emit: (event: ProviderEvent) => void;
  readonly #exit = Promise.withResolvers<ExitStatus>();
  #stopping: (() => void) | null = null;

  constructor(world: World, launch: ProviderLaunch, emit: (event: ProviderEvent) => void) {
    this.world = world;
    this.agent = world.agent;
    this.incarnation = launch.incarnation;
    this.pid = ++this.agent.starts;
    this.#emit = emit;
    this.exited = this.#exit.promise;
    this.conversation = launch.resume !== null && this.agent.conversations.has(launch.resume)
      ? launch.resume
      : this.agent.newConversation();
    world.oracle.started(this);
    this.agent.live = this;
  }

  protected abstract readonly pace: Pace;

  abstract deliver(delivery: Delivery, signal: AbortSignal): Promise<void>;
  abstract probe(deliveryIds: string[], signal: AbortSignal): Promise<Map<string, ProbeResult>>;
  abstract interrupt(): Promise<void>;

  /** Lets something happen later unless the process is dead by then. */
  later(ms: number, run: () => void): void {
    this.world.machine.later(ms, () => {
      if (this.alive) run();
    });
  }

  emit(event: ProviderEvent): void {
    if (this.alive) this.#emit(event);
  }

  setActivity(activity: Activity): void {
    if (activity === this.activity) return;
    this.activity = activity;
    this.emit({ type: "activity", activity });
  }

  /** Runs one turn of the model with a delivery; `ended` is called when it is over. */
  protected startTurn(waiting: Waiting, ended: () => void): void {
    const { world, agent } = this;
    const { case: each, deliveryId } = waiting;
    const turn: Turn = {
      deliveryId,
      incarnation: this.pid,
      placedAt: world.timeline.now,
      seenAt: null,
      end: null,
    };
    each.turns.push(turn);
    this.running.set(deliveryId, turn);
    // The row reaches the file a little later than the model gets the message.
    const visibleAt = world.timeline.now +
      world.random.between(0, 3_000) * (world.random.chance(0.2) ? 1 : 0.02);
    const row: RecordRow = { case: each, turn, visibleAt };
    agent.records(this.conversation).set(deliveryId, row);
    this.setActivity("busy");
    this.emit({ type: "evidence", deliveryId, stage: "placed", evidence: "row of the record" });
    world.oracle.turnStarted(this, each, turn);
    const { faults, random } = world;
    const { seenMs, turnMs } = this.pace;
    const finish = (how: "done" | "failed", failure: FailureClass | null, reason: string) => {
      if (turn.end === null) this.endTurn(waiting, turn, { how, failure, reason }, ended);
    };
    if (agent.fault !== null) {
      const reason = agent.fault;
      return this.later(random.between(50, 500), () => finish("failed", "provider", reason));
    }
    if (each.posting.poison === "message") {
      return this.later(random.between(50, 500), () => finish("failed", "message", "the prompt is too long"));
    }
    const stubborn = each.posting.poison === "stubborn" && each.turns.length <= 6;
    const fails = stubborn || faults.fires("turn.transient");
    if (fails && random.chance(0.5)) {
      return this.later(random.between(50, 2_000), () => finish("failed", "transient", "connection failed"));
    }
    this.later(seenMs * random.between(0.3, 2), () => {
      if (turn.end !== null) return;
      turn.seenAt = world.timeline.now;
      world.oracle.seen(each, turn);
      this.emit({ type: "evidence", deliveryId, stage: "seen", evidence: "answer of the model" });
    });
    // The echo agent answers at once, whatever it is sent.
    const long = world.plan.provider !== "echo" && faults.fires("turn.long")
      ? random.between(10, 60) * (world.plan.longWork ? 2 : 1)
      : 1;
    this.later(seenMs * 2 + turnMs * random.between(0.2, 2) * long, () => {
      if (fails) finish("failed", "transient", "stream disconnected");
      else finish("done", null, "");
    });
  }

  /** Ends a turn and tells it. */
  protected endTurn(
    waiting: Waiting,
    turn: Turn,
    end: { how: "done" | "failed"; failure: FailureClass | null; reason: string },
    ended: () => void,
  ): void {
    const { world } = this;
    turn.end = { ...end, at: world.timeline.now };
    this.running.delete(waiting.deliveryId);
    world.oracle.turnEnded(waiting.case, turn);
    if (!this.losesResult()) {
      this.held.delete(waiting.deliveryId);
      const deliveryIds = [waiting.deliveryId];
      if (end.how === "done") {
        this.emit({ type: "done", deliveryIds, text: "answer", evidence: "turn completed" });
      } else this.emit({ type: "failed", deliveryIds, failure: end.failure!, reason: end.reason });
    }
    ended();
  }

  /** True when the end of this turn is not told. */
  protected losesResult(): boolean {
    return false;
  }

  /** Ends the running turns as a person's interrupt does. */
  protected interruptTurns(ended: () => void): void {
    for (const [deliveryId, turn] of [...this.running]) {
      const each = this.agent.records(this.conversation).get(deliveryId)!.case;
      this.endTurn({ deliveryId, case: each }, turn, {
        how: "failed",
        failure: "cancelled",
        reason: "interrupted",
      }, ended);
    }
  }

  /** The process ends now; its turns are cut where they are. */
  die(status: ExitStatus): void {
    if (!this.alive) return;
    this.alive = false;
    this.diedAt = this.world.machine.mono();
    if (this.agent.live === this) this.agent.live = null;
    for (const turn of this.running.values()) {
      turn.end = { how: "cut", failure: null, reason: "its process ended", at: this.world.timeline.now };
    }
    this.world.oracle.processDied(this);
    this.running.clear();
    // What it had written is read to the end before the end itself is told.
    this.world.machine.later(this.world.random.between(1, 50), () => this.#exit.resolve(status));
  }

  shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    this.world.oracle.stopAsked(this, options.graceful);
    const { faults, random } = this.world;
    const signalled: ExitStatus = { code: 143, signal: "SIGTERM" };
    if (!options.graceful) this.world.machine.later(random.between(5, 300), () => this.die(signalled));
    else if (this.#stopping === null) {
      const hangs = faults.fires("shutdown.hangs");
      const takesMs = hangs ? options.timeoutMs : Math.min(options.timeoutMs, random.between(10, 1_500));
      this.#stopping = this.world.machine.later(
        takesMs,
        () => this.die({ code: hangs ? 137 : 0, signal: hangs ? "SIGKILL" : null }),
      );
    }
    return this.exited;
  }

  /** The answer of a record, as far as it can be read. */
  protected recorded(deliveryIds: readonly string[]): Map<string, ProbeResult> {
    const results = new Map<string, ProbeResult>();
    const records = this.agent.records(this.conversation);
    for (const id of deliveryIds) {
      const row = records.get(id);
      if (this.world.faults.fires("probe.unreadable")) {
        this.world.oracle.unreadable(id);
        results.set(id, { state: "unknown", reason: "the record cannot be read" });
      } else if (row === undefined || row.visibleAt > this.world.timeline.now) {
        results.set(id, { state: "absent" });
      } else results.set(id, judgeTurn(row.turn));
    }
    return results;
  }
}
