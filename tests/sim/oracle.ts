import type { JournalRow } from "../../lib/inbox/contract.ts";
import { inFlight } from "../../lib/inbox/core/row.ts";
import type { StatusPayload } from "../../lib/protocol/frames.ts";
import type { SendInput } from "../../lib/protocol/message.ts";
import type { Delivery } from "../../lib/providers/contract.ts";
import type { ExitOutcome } from "../../lib/runner/core/types.ts";
import { type Case, isRunning, mayBeUnderWay, type Turn, wasDone, wasSeen } from "./case.ts";
import type { Host } from "./host.ts";
import type { InvariantId } from "./invariants.ts";
import type { ProcessModel } from "./process_model.ts";
import { AGENT } from "./relay_model.ts";
import { Supervision } from "./supervision.ts";
import { newTally, type Tally } from "./tally.ts";
import type { World } from "./world.ts";

/** Slack for a lease that the runner measures on a drifting clock. */
const LEASE_SLACK_MS = 300;

/** After these the runner cannot know what the provider still holds. */
const LOSES_COUNT = ["result.lost", "disk.damage"] as const;

/** How long after the end of its lease a turn may still end well: an interrupt takes time. */
const STOP_MS = 5_000;
const UNSTOPPABLE = ["interrupt.ignored", "codex.drop", "clock.sleep"] as const;

/** A promise that was broken, and where. */
export interface Violation {
  id: InvariantId;
  what: string;
  at: number;
}

/**
 * Watches the far ends (relay, provider, disk, operator) and says when a promise is broken. It never asks the runner
 * what it believes.
 */
export class Oracle {
  readonly #world: World;
  readonly violations: Violation[] = [];
  readonly tally: Tally = newTally();
  readonly supervision: Supervision;
  /** What happened, for a person; filled only when asked for. */
  story: string[] | null = null;
  #offers = 0;
  #attempted = new Set<string>();
  readonly #byDelivery = new Map<string, Case>();

  constructor(world: World) {
    this.#world = world;
    this.supervision = new Supervision(world, this);
  }

  violated(id: InvariantId, what: string): void {
    this.violations.push({ id, what, at: this.#world.timeline.now });
    this.tell(`*** ${id}: ${what}`);
  }

  sometimes(what: string): void {
    this.tally.sometimes.set(what, (this.tally.sometimes.get(what) ?? 0) + 1);
  }

  tell(line: string): void {
    this.story?.push(`${(this.#world.timeline.now / 1000).toFixed(3).padStart(9)}  ${line}`);
  }

  // --- messages

  posted(): void {
    this.tally.posted++;
  }

  storeChanged(): void {
    this.sometimes("the relay came back with a new store");
  }

  /** A row was committed. */
  committed(before: JournalRow | undefined, row: JournalRow): void {
    const from = before?.state.state ?? "new";
    const to = row.state.state;
    this.tell(`journal ${row.key} ${from} > ${to}${row.acked ? " acked" : ""} attempt ${row.attempt}`);
    if (from !== to) this.tally.transition(`${from} > ${to}`);
    const each = this.#world.cases.get(row.key);
    if (each === undefined) return;
    each.journaled = true;
    if (each.offered === 0) each.offered = ++this.#offers;
    each.ended = to === "done" || to === "failed" || to === "skipped" || to === "dead" ? to : "none";
  }

  /** A person decided what becomes of a dead letter. */
  decided(each: Case, how: "retry" | "drop"): void {
    this.tell(`${how} ${each.key}`);
    this.sometimes(`a dead letter: ${how}`);
    if (how === "drop") each.dropped = true;
    else {
      each.reopened++;
      // Whatever was wrong with it is mended.
      each.posting = { ...each.posting, poison: "none" };
    }
  }

  damaged(key: string): void {
    const each = this.#world.cases.get(key);
    if (each !== undefined) each.damaged++;
    this.sometimes("a damaged row was put aside");
  }

  /** The runner hands a delivery over; returns the message that it is. */
  handing(process: ProcessModel, delivery: Delivery): Case {
    const [key, redelivery] = delivery.text.split("#") as [string, string];
    const each = this.#world.cases.get(key)!;
    this.tell(
      `deliver ${key} redelivery ${redelivery} ${delivery.deliveryId.slice(0, 8)} to process ${process.pid}`,
    );
    this.#byDelivery.set(delivery.deliveryId, each);
    this.supervision.delivers(process);
    each.handedTo = process.pid;
    if (process.alive) this.#checkDelivery(process, each, Number(redelivery), delivery.deliveryId);
    this.#attempted.add(key);
    return each;
  }

  #checkDelivery(process: ProcessModel, each: Case, redelivery: number, deliveryId: string): void {
    const { key, message } = each;
    if (each.handed > 0 && redelivery === 0 && each.damaged === 0) {
      this.violated("I3", `${key} is delivered again without saying so`);
    }
    if (redelivery > 0) this.sometimes("a message was delivered again");
    if (!excused(each)) {
      if (wasDone(each)) this.violated("I3", `${key} is delivered again although it was done`);
      else if (isRunning(each)) this.violated("I3", `${key} is delivered again while its turn runs`);
      else if (!message.claimable && wasSeen(each)) {
        this.violated("I3", `${key} is delivered again although the model saw it`);
      } else if (process.held.has(deliveryId) || this.#world.agent.queue.some((w) => w.case === each)) {
        this.violated("I3", `${key} is delivered again while the provider holds it`);
      }
    }
    if (
      process.held.size >= this.#world.window &&
      ![...LOSES_COUNT, ...UNSTOPPABLE].some((kind) => this.#world.faults.fired.has(kind))
    ) {
      this.violated("I17", `${process.held.size + 1} deliveries are with the provider at once`);
    }
    if (message.claimable) this.#checkLease(each);
    else if (each.handed === 0 && each.reopened === 0 && !this.#attempted.has(key)) this.#checkOrder(each);
  }

  #checkLease(each: Case): void {
    const { relay, plan } = this.#world;
    if (each.message.storeId !== relay.storeId) return;
    const left = relay.leaseLeft(each.message.id, AGENT);
    if (left + LEASE_SLACK_MS < Math.max(5_000, plan.leaseMs * 0.2)) {
      this.violated("I4", `${each.key} is delivered with ${Math.round(left)} ms of its lease left`);
    }
  }

  #checkOrder(each: Case): void {
    if (this.#world.plan.maxQueue < 100) return;
    for (const other of this.#world.cases.values()) {
      if (
        other.damaged > 0 || other.message.claimable || other.offered === 0 || other.offered > each.offered
      ) continue;
      if (other.message.storeId !== each.message.storeId || other.message.id >= each.message.id) continue;
      if (other.handed > 0 || other.ended !== "none" || this.#attempted.has(other.key)) continue;
      // Perhaps handed over by a run that died: its fate is looked into first.
      if (inFlight(this.#world.disk.row(other.key)!.state)) continue;
      this.violated("I5", `${each.key} is delivered before ${other.key}, which came earlier`);
    }
  }

  turnStarted(process: ProcessModel, each: Case, turn: Turn): void {
    this.tally.turns++;
    this.tell(`turn of ${each.key} in process ${process.pid} ${turn.deliveryId.slice(0, 8)}`);
  }

  seen(each: Case, _turn: Turn): void {
    this.tell(`seen ${each.key}`);
    const sightings = each.turns.filter((turn) =>
      turn.seenAt !== null && turn.end?.how !== "failed" && turn.end?.how !== "cut"
    );
    if (sightings.length > 1) this.tally.duplicates++;
  }

  turnEnded(each: Case, turn: Turn): void {
    const { how, failure } = turn.end!;
    this.tell(`turn of ${each.key} ${how} ${failure ?? ""}`);
    if (how !== "done") return;
    if (each.message.claimable) this.#checkLate(each, turn);
    each.leasedWhenDone ||= this.#world.relay.leaseLeft(each.message.id, AGENT) > 0;
    if (each.message.claimable && each.rivalDoneAt !== null) this.#doneByTwo(each);
  }

  /** The relay gave or prolonged our lease. */
  leased(messageId: number, leaseMs: number): void {
    const { cases, relay, timeline } = this.#world;
    const each = cases.get(`${relay.storeId}/${messageId}`);
    if (each !== undefined) each.leaseUntil = timeline.now + leaseMs;
  }

  /** Work that goes on when its lease has run out may be somebody else's by then. */
  #checkLate(each: Case, turn: Turn): void {
    const { timeline, relay, faults } = this.#world;
    const lateMs = timeline.now - each.leaseUntil;
    if (lateMs < STOP_MS || each.slept || each.message.storeId !== relay.storeId) return;
    // With the runner and its guard both dead nobody is there to stop it.
    if (this.#world.operator.host === null) return;
    // What Codex's queue begins by itself, and a turn that cannot be interrupted, are not the runner's to stop.
    if (turn.incarnation !== each.handedTo || UNSTOPPABLE.some((kind) => faults.fired.has(kind))) return;
    this.violated("I4", `${each.key} was done ${Math.round(lateMs)} ms after its lease had run out`);
  }

  rivalDone(key: string): void {
    const each = this.#world.cases.get(key);
    if (each === undefined) return;
    this.tell(`rival did ${key}`);
    each.rivalDoneAt = this.#world.timeline.now;
    this.tally.rivalDone++;
    if (wasDone(each)) this.#doneByTwo(each);
  }

  #doneByTwo(each: Case): void {
    this.tally.rivalDuplicates++;
    if (each.slept) return this.sometimes("work was done by two because the machine slept");
    if (UNSTOPPABLE.some((kind) => this.#world.faults.fired.has(kind))) {
      return this.sometimes("work was done by two because the agent could not be stopped");
    }
    if (each.damaged > 0) return this.sometimes("work was done by two because its row was damaged");
    if (each.unguarded) {
      return this.sometimes("work was done by two because runner and guard were both gone");
    }
    // Done in time, and no ack reached the relay before the lease ran out: nobody can prevent that.
    if (each.leasedWhenDone) return this.sometimes("work was done by two because no ack could get through");
    this.violated("I4", `${each.key} was done by two agents`);
  }

  /** markRead left the runner on a registered connection. */
  markReadSent(storeId: string, ids: readonly number[]): void {
    const { cases } = this.#world;
    for (const id of ids) {
      const each = cases.get(`${storeId}/${id}`);
      this.tell(`markRead ${storeId}/${id}`);
      if (each === undefined) {
        this.violated("I1", `message ${id} is marked read, and the relay has none such`);
      } else if (each.message.claimable ? !wasDone(each) : !wasSeen(each)) {
        this.violated(
          "I1",
          `${each.key} is marked read before the model ${each.message.claimable ? "did" : "saw"} it`,
        );
      } else this.tally.acks++;
    }
  }

  claimAsked(_host: Host, messageId: number, renewal: boolean): void {
    this.tell(`${renewal ? "renew" : "claim"} ${messageId}`);
    if (renewal) this.sometimes("a lease was renewed");
  }

  replyStored(input: SendInput): void {
    const each = this.#world.cases.get(`${this.#world.relay.storeId}/${input.replyTo}`);
    if (each === undefined) return;
    each.repliesStored++;
    if (!wasDone(each)) this.violated("I1", `${each.key} is answered before the model did it`);
  }

  unreadable(deliveryId: string): void {
    const each = this.#byDelivery.get(deliveryId);
    if (each !== undefined) each.unreadable++;
  }

  // --- processes and runs

  #deaths(): void {
    for (const each of this.#world.cases.values()) {
      if (each.handed > 0 && !(each.ended === "done" || each.ended === "failed")) each.deathsInFlight++;
    }
  }

  started(process: ProcessModel): void {
    this.tell(`process ${process.pid} starts`);
    this.supervision.started();
  }

  processDied(process: ProcessModel): void {
    this.tell(`process ${process.pid} died`);
    if (process.held.size > 0 || this.#world.agent.queue.length > 0) this.tally.providerDeathsInFlight++;
    this.#deaths();
    this.supervision.died(process);
  }

  stopAsked(process: ProcessModel, graceful: boolean): void {
    this.tell(`stop process ${process.pid} ${graceful ? "gracefully" : "at once"}`);
    this.supervision.stopAsked(process, graceful);
  }

  spawnAsked(host: Host): void {
    this.tell("spawn");
    this.supervision.spawnAsked(host);
  }

  spawnFailed(): void {
    this.supervision.spawnFailed();
  }

  runnerStarts(): void {
    this.tally.starts++;
    this.tell("the runner starts");
    this.#offers = 0;
    const open = [...this.#world.cases.values()].filter((each) => each.journaled && each.ended === "none");
    for (const each of this.#world.cases.values()) each.offered = 0;
    for (const each of open.sort((a, b) => a.message.id - b.message.id)) each.offered = ++this.#offers;
    this.supervision.runnerStarts();
  }

  runnerCrashed(at: string): void {
    this.tell(`the runner crashed ${at}`);
    const port = at.replace(/^(before|after) /, "");
    this.tally.crashes.set(port, (this.tally.crashes.get(port) ?? 0) + 1);
    if (
      [...this.#world.cases.values()].some((each) =>
        each.handed > 0 && !wasDone(each) && each.ended === "none"
      )
    ) {
      this.tally.crashesInFlight++;
    }
    this.#deaths();
  }

  runnerEnded(host: Host, outcome: ExitOutcome): void {
    this.tell(`the runner ended: ${JSON.stringify(outcome.cause)}`);
    this.supervision.ended(host, outcome);
  }

  signalled(host: Host, name: string): void {
    this.tell(`signal ${name}`);
    this.supervision.signalled(host, name);
  }

  watchdogArmed(host: Host, ms: number): void {
    this.tell(`watchdog ${ms} ms`);
    this.supervision.watchdogArmed(host, ms);
  }

  watchdogFired(host: Host, ms: number): void {
    this.violated("I10", `run ${host.number} was not over ${ms} ms after it began to end`);
  }

  statusPublished(_host: Host, status: StatusPayload): void {
    this.tell(
      `status ${status.agentStatus} ready ${status.ready} ${
        String(status.meta?.reason ?? status.meta?.busyReasons)
      }`,
    );
    this.supervision.status(status);
  }

  /** The runner died, and its guard with it: the agent goes on until the next start. */
  unguarded(): void {
    for (const each of this.#world.cases.values()) if (mayBeUnderWay(each)) each.unguarded = true;
  }

  slept(): void {
    // Nothing of this machine can act before it wakes, and then the turn may end first.
    for (const each of this.#world.cases.values()) {
      if (mayBeUnderWay(each)) each.slept = true;
    }
    this.sometimes("the machine slept");
  }
}

/** A second delivery is allowed when a death left the fate open and the record could not be read, or history was lost. */
export function excused(each: Case): boolean {
  return each.reopened > 0 || each.damaged > 0 || (each.unreadable > 0 && each.deathsInFlight > 0) ||
    each.unreadable >= 3;
}
