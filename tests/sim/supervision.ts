import type { StatusPayload } from "../../lib/protocol/frames.ts";
import type { ExitOutcome } from "../../lib/runner/core/types.ts";
import type { Host } from "./host.ts";
import type { Oracle } from "./oracle.ts";
import type { ProcessModel } from "./process_model.ts";
import { AGENT } from "./relay_model.ts";
import type { World } from "./world.ts";

/** How long a provider's death may go unpublished. */
const STATUS_MS = 2_000;
const END_SLACK_MS = 12_000;
const HARD_MS = 2_000;

/** Checks processes, status and the ends of runs: I6, I8, I9, I10, I16. */
export class Supervision {
  readonly #world: World;
  readonly #oracle: Oracle;
  /** Monotonic times of deaths that the present run did not ask for. */
  #deaths: number[] = [];
  #healthySince: number | null = null;
  #asked = new Set<ProcessModel>();
  #lastEnd: ProcessModel | null = null;
  /** The provider was stopped in order; what follows is a restart or the end. */
  #stoppedInRun = false;
  #restarts = 0;
  #armed: { host: Host; at: number; ms: number } | null = null;
  #signals = 0;
  #interrupted = false;

  constructor(world: World, oracle: Oracle) {
    this.#world = world;
    this.#oracle = oracle;
  }

  runnerStarts(): void {
    this.#deaths = [];
    this.#healthySince = null;
    this.#asked.clear();
    this.#armed = null;
    this.#signals = 0;
    this.#interrupted = false;
    this.#stoppedInRun = false;
  }

  started(): void {
    const { live } = this.#world.agent;
    if (live !== null) this.#oracle.violated("I6", `a provider starts while process ${live.pid} lives`);
  }

  delivers(process: ProcessModel): void {
    const late = this.#world.machine.mono() - process.diedAt;
    if (!process.alive && late > 1_000) {
      this.#oracle.violated(
        "I6",
        `a delivery goes to process ${process.pid}, dead for ${Math.round(late)} ms`,
      );
    }
  }

  died(process: ProcessModel): void {
    const mono = this.#world.machine.mono();
    const { host } = this.#world.operator;
    this.#lastEnd = process;
    if (host !== null && !this.#asked.has(process)) {
      if (process.ready) this.#healthySince ??= mono;
      this.#deaths.push(mono);
    }
    this.#world.machine.later(STATUS_MS, () => {
      const { host: now } = this.#world.operator;
      if (now === null || now !== host || this.#world.agent.live?.ready || this.#lastEnd !== process) return;
      if (now.bus.status?.ready) {
        this.#oracle.violated("I8", "ready is still published 2 s after the provider died");
      }
    });
  }

  spawnFailed(): void {
    this.#deaths.push(this.#world.machine.mono());
  }

  spawnAsked(_host: Host): void {
    if (this.#stoppedInRun) this.#restarts++;
    this.#stoppedInRun = false;
    const mono = this.#world.machine.mono();
    const last = this.#deaths.at(-1);
    if (last === undefined) return;
    // A restart that was asked for has no delay of its own.
    if (mono - last < 999 && !this.#wasTold("agent.restart")) {
      this.#oracle.violated("I16", `a provider is started ${Math.round(mono - last)} ms after one died`);
    }
    // A death while a restart is under way is what was asked for.
    const asked =
      this.#world.relay.issued.filter(({ payload }) => payload.commandType === "agent.restart").length;
    const recent = this.#deaths.filter((at) => last - at <= 60_000).length - asked;
    if (recent > 5) this.#oracle.violated("I16", `a provider is started after ${recent} deaths within 60 s`);
    this.#oracle.sometimes("a provider was started again after its death");
  }

  stopAsked(process: ProcessModel, graceful: boolean): void {
    // One that hangs is ended by nobody's command.
    if (process.deaf) this.#oracle.sometimes("a provider that hung was ended");
    else if (graceful) this.#stoppedInRun = true;
    this.#asked.add(process);
  }

  status(status: StatusPayload): void {
    if (!status.ready) return;
    const { live } = this.#world.agent;
    if (live === null || !live.ready) {
      const late = this.#world.timeline.now - this.#lastDeath();
      if (late > STATUS_MS) this.#oracle.violated("I8", "ready is published and no provider is");
    }
    if (status.agentStatus !== "idle" && status.agentStatus !== "busy") {
      this.#oracle.violated("I8", `${status.agentStatus} is published as ready`);
    }
  }

  #lastDeath(): number {
    return this.#world.timeline.now - (this.#world.machine.mono() - (this.#deaths.at(-1) ?? -Infinity));
  }

  signalled(host: Host, name: string): void {
    if (name === "SIGINT" && !this.#world.plan.headless) {
      // The agent's in the terminal; without one it ends the run.
      this.#interrupted = true;
      return;
    }
    this.#signals++;
    const second = this.#signals > 1;
    this.#world.machine.later(1, () => {
      if (host.state.is !== "running") return;
      if (this.#armed?.host !== host) {
        // It was saying goodbye already, which has its own bound.
        this.#world.machine.later(3_500, () => {
          if (host.state.is === "running") this.#oracle.violated("I10", `nothing came of ${name}`);
        });
      }
    });
    if (!second) return;
    this.#world.machine.later(HARD_MS + 600, () => {
      if (host.state.is === "running") {
        this.#oracle.violated("I10", "a second signal did not end the run in 2 s");
      }
    });
  }

  watchdogArmed(host: Host, ms: number): void {
    const bound = this.#world.plan.drainTimeoutMs + END_SLACK_MS;
    if (ms > bound) this.#oracle.violated("I10", `the end may take ${ms} ms, more than ${bound} ms`);
    this.#armed = { host, at: this.#world.machine.mono(), ms };
  }

  ended(host: Host, outcome: ExitOutcome): void {
    const { live } = this.#world.agent;
    if (live !== null && !this.#asked.has(live)) {
      this.#oracle.violated("I6", `process ${live.pid} lives on after its run ended`);
    }
    const { cause } = outcome;
    this.#oracle.sometimes(`a run ended: ${cause.kind === "error" ? cause.code : cause.kind}`);
    const wrong = this.#wrongCause(cause);
    if (wrong !== null) {
      this.#oracle.violated("I10", `run ${host.number} ended as ${JSON.stringify(cause)}: ${wrong}`);
    }
  }

  #wasTold(commandType: string): boolean {
    return this.#world.relay.issued.some(({ payload }) =>
      payload.target === AGENT && payload.commandType === commandType
    );
  }

  #wrongCause(cause: ExitOutcome["cause"]): string | null {
    switch (cause.kind) {
      case "drained":
        return this.#signals > 0 || this.#interrupted ? null : "there was no signal";
      case "signal":
        return this.#signals > 1 || this.#interrupted || this.#wasTold("agent.shutdown") ||
            this.#wasTold("agent.kill")
          ? null
          : "there were not two signals";
      case "command": {
        const { commandId } = cause;
        const record = this.#world.relay.issued.find(({ payload }) => payload.commandId === commandId);
        if (record === undefined) return "there is no such command";
        if (record.payload.target !== AGENT) {
          this.#oracle.violated("I9", `${commandId} for somebody else ended the run`);
        }
        return record.payload.target === AGENT && record.payload.commandType === cause.action
          ? null
          : "the command says something else";
      }
      case "completed":
        return "the run has no goal to reach";
      case "provider":
        return this.#world.plan.headless ? "a headless run does not end with its provider" : null;
      case "error": {
        if (cause.code !== "E_CRASH_LOOP") return "nothing of the kind happened";
        const last = this.#deaths.at(-1) ?? 0;
        return this.#deaths.filter((at) => last - at <= 60_000).length > 5
          ? null
          : "there were too few deaths";
      }
    }
  }

  /** Restarts beyond what commands asked for. */
  finalCheck(): void {
    const restarts =
      this.#world.relay.issued.filter(({ payload }) =>
        payload.target === AGENT && payload.commandType === "agent.restart"
      ).length;
    if (this.#restarts > restarts) {
      this.#oracle.violated("I9", `${this.#restarts} restarts for ${restarts} commands`);
    }
    for (const { payload, told, status } of this.#world.relay.commands.values()) {
      const { commandType, commandId, target } = payload;
      if (target !== AGENT && told.length > 0) {
        this.#oracle.violated("I9", `${commandId} for somebody else was answered`);
      }
      const { fired } = this.#world.faults;
      // With a disk that takes nothing, an answer that does not get through at once is forgotten.
      if (fired.has("disk.full") || fired.has("disk.error")) continue;
      if (status === "accepted" || status === "running") {
        this.#oracle.violated("I9", `${commandType} ${commandId} was never answered`);
      }
    }
  }
}
