import type { ExitOutcome } from "../../lib/runner/core/types.ts";
import { CodexModel } from "./codex_model.ts";
import type { TimedFault } from "./faults.ts";
import { Host } from "./host.ts";
import { AGENT } from "./relay_model.ts";
import type { World } from "./world.ts";

/** Who posts messages, starts the runner, lets the planned faults happen, and starts the runner again when it is gone. */
export class Operator {
  readonly #world: World;
  #host: Host | null = null;
  #starts = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get host(): Host | null {
    return this.#host;
  }

  get starts(): number {
    return this.#starts;
  }

  /** Puts the whole plan on the timeline. */
  begin(): void {
    const { plan, timeline } = this.#world;
    for (const posting of plan.postings) timeline.at(posting.at, () => this.#world.post(posting));
    for (const { kind, number, at } of plan.timed) {
      const strike = () => {
        // Whoever would do it waits until the machine is awake.
        if (this.#world.machine.asleep) return void timeline.at(this.#world.machine.wakesAt + 1, strike);
        if (this.#world.faults.happens(kind, number)) this.#strike(kind);
      };
      timeline.at(at, strike);
    }
    timeline.at(plan.horizonMs, () => this.#world.heal());
    timeline.at(0, () => this.#start());
  }

  #start(): void {
    if (this.#host !== null) return;
    // Whatever an earlier run left behind is ended before anything else begins.
    this.#world.agent.live?.die({ code: 137, signal: "SIGKILL" });
    this.#world.oracle.runnerStarts();
    this.#host = new Host(this.#world, ++this.#starts);
    this.#host.start();
  }

  #startLater(): void {
    const { random, timeline, faults } = this.#world;
    const delayMs = faults.healed
      ? 500
      : random.chance(0.2)
      ? random.between(5_000, 40_000)
      : random.between(100, 3_000);
    timeline.after(delayMs, () => this.#start());
  }

  crashed(host: Host, at: string): void {
    if (this.#host === host) this.#host = null;
    this.#world.oracle.runnerCrashed(at);
    // The guard sees the pipe close and ends the provider; without it the provider lives on until the next start.
    const { live } = this.#world.agent;
    if (live !== null && this.#world.faults.fires("guard.dead")) {
      this.#world.oracle.unguarded();
    } else if (live !== null) {
      this.#world.machine.later(
        this.#world.random.between(5, 400),
        () => live.die({ code: 137, signal: "SIGKILL" }),
      );
    }
    this.#startLater();
  }

  ended(host: Host, outcome: ExitOutcome): void {
    if (this.#host === host) this.#host = null;
    this.#world.oracle.runnerEnded(host, outcome);
    // The last thing a run does is to end every process that it started.
    this.#world.agent.live?.die({ code: 137, signal: "SIGKILL" });
    this.#startLater();
  }

  /** Everything works again from now on; a runner that is down starts within a second. */
  healed(): void {
    this.#world.timeline.after(1_000, () => this.#start());
    // A person looks after an interactive agent that gave up on its provider.
    this.#world.timeline.after(5_000, () => {
      if (this.#host?.runner.view().provider.state === "failed") this.#signal("SIGTERM");
    });
  }

  #signal(name: string): void {
    const host = this.#host;
    if (host === null) return;
    this.#world.oracle.signalled(host, name);
    host.runner.post({ type: "signal", signal: name });
  }

  #strike(kind: TimedFault): void {
    const world = this.#world;
    const { random, timeline, relay, agent, machine } = world;
    switch (kind) {
      case "cut":
        return this.#host?.bus.cut(false);
      case "cut.silent":
        return this.#host?.bus.cut(true);
      case "cut.long":
        world.partitionedUntil = timeline.now + random.between(15_000, 90_000);
        return this.#host?.bus.cut(random.chance(0.3));
      case "relay.down":
      case "relay.new-store": {
        const forget = kind === "relay.new-store";
        relay.stop(forget);
        if (forget) world.oracle.storeChanged();
        timeline.after(random.between(100, forget ? 2_000 : 70_000), () => relay.start());
        return;
      }
      case "crash.time":
        return this.#host?.crash("a moment");
      case "provider.crash":
        return agent.live?.die({ code: 1, signal: null });
      case "provider.crash-loop": {
        // It dies whenever it has just begun, for as long as this lasts.
        const until = timeline.now + random.between(5_000, 60_000);
        const strike = () => {
          agent.live?.die({ code: 1, signal: null });
          if (timeline.now < until && !world.faults.healed) {
            timeline.after(random.between(300, 2_000), strike);
          }
        };
        return strike();
      }
      case "provider.quits":
        return agent.live?.die({ code: 0, signal: null });
      case "provider.fault":
        agent.fault = "login expired";
        timeline.after(random.between(1_000, 90_000), () => agent.fault = null);
        return;
      case "approval": {
        const process = agent.live;
        if (process === null || process.activity !== "busy") return;
        process.setActivity("approval");
        process.later(random.between(500, 10_000), () => {
          if (process.activity === "approval") process.setActivity("busy");
        });
        return;
      }
      case "disk.full":
        world.diskFull = true;
        timeline.after(random.between(500, 40_000), () => world.diskFull = false);
        return;
      case "clock.step":
        return machine.step(random.pick([3_600_000, -3_600_000, 315_360_000_000, -315_360_000_000, 2_000]));
      case "clock.sleep": {
        const ms = random.pick([random.between(1_000, 30_000), random.between(30_000, 300_000), 43_200_000]);
        world.oracle.slept();
        machine.sleep(ms);
        // What went over the network meanwhile found nobody.
        if (ms > 20_000) this.#host?.bus.cut(random.chance(0.5));
        return;
      }
      case "codex.drop":
        if (agent.live instanceof CodexModel) agent.live.drop(random.between(50, 8_000));
        return;
      case "signal":
        return this.#signal(random.pick(["SIGTERM", "SIGINT", "SIGHUP"]));
      case "signal.twice":
        this.#signal("SIGTERM");
        timeline.after(random.between(0, 15_000), () => this.#signal("SIGTERM"));
        return;
      case "command.restart":
        return this.#command("agent.restart");
      case "command.shutdown":
        return this.#command("agent.shutdown");
      case "command.kill":
        return this.#command("agent.kill");
      case "letter.retry":
      case "letter.drop": {
        if (relay.down) return;
        const how = kind === "letter.retry" ? "retry" : "drop";
        const each = relay.decide(how, (letters) => random.pick(letters));
        if (each !== undefined) world.oracle.decided(each, how);
        return;
      }
      case "command.foreign":
        return this.#command(random.pick(["agent.kill", "agent.format", "agent.restart"]), "somebody-else");
    }
  }

  #command(type: string, target = AGENT): void {
    const { relay, timeline, random, faults } = this.#world;
    if (relay.down) return;
    const record = relay.command(type, target);
    if (target !== AGENT) return void timeline.after(50, () => relay.repeatCommand(record));
    while (faults.fires("command.duplicate")) {
      timeline.after(random.between(10, 60_000), () => relay.repeatCommand(record));
    }
  }
}
