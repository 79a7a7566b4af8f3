import { messageOf } from "../base/errors.ts";
import { LOCAL_STORE } from "../inbox/core/row.ts";
import type { CommandPayload, Registered } from "../protocol/frames.ts";
import type { Message } from "../protocol/message.ts";
import type { HookEvent } from "../providers/contract.ts";
import type { TransportState } from "../sdk/contract.ts";
import { nextDue } from "./core/due.ts";
import { reportOf } from "./core/goal.ts";
import { initialState } from "./core/state.ts";
import { step } from "./core/step.ts";
import type { CoreConfig, Effect, Event, ExitOutcome, State } from "./core/types.ts";
import { type RunnerView, viewOf } from "./core/view.ts";
import { Outbox } from "./outbox.ts";
import { JournalWriter } from "./journal_writer.ts";
import { ProviderHost } from "./provider_host.ts";
import type { RunnerPorts } from "./ports.ts";
import { finish, RelayActions } from "./relay_actions.ts";

/** Events taken into one commit at most; bounds the time the loop is away from the sockets. */
const BATCH = 512;

/**
 * The shell around the pure core: collects events, lets `step` decide, writes the journal in one commit per
 * batch, then performs the other effects and feeds their results back as events.
 */
export class Runner {
  readonly #ports: RunnerPorts;
  readonly #state: State;
  readonly #outbox: Outbox;
  readonly #writer: JournalWriter;
  readonly #provider: ProviderHost;
  readonly #relay: RelayActions;
  readonly #ended = Promise.withResolvers<ExitOutcome>();
  readonly #hurried = Promise.withResolvers<void>();
  #queue: Event[] = [];
  #flushing = false;
  #cancelTick: (() => void) | null = null;
  #tickAt = Infinity;
  /** Monotonic time of the last step. */
  #stepped = -Infinity;
  #over = false;

  constructor(config: CoreConfig, ports: RunnerPorts) {
    this.#ports = ports;
    const snapshot = ports.journal.load();
    for (const what of snapshot.quarantined) ports.log.warn("damaged state was put aside", { what });
    this.#state = initialState(config, snapshot);
    const post = (event: Event) => this.post(event);
    this.#outbox = new Outbox(
      ports,
      (commandId) => this.post({ type: "command.told", commandId }),
    );
    this.#writer = new JournalWriter(ports, post, () => this.#state.rows.values());
    this.#provider = new ProviderHost(ports, post);
    this.#relay = new RelayActions(
      config,
      ports,
      post,
      () => this.#state.rows.size >= config.maxQueue,
      (key) => this.#writer.find(key),
    );
  }

  /** Resolves when the run is over: provider gone, relay told, bus closed. Never rejects. */
  get ended(): Promise<ExitOutcome> {
    return this.#ended.promise;
  }

  /** Starts the provider and whatever the journal says is left to do. */
  start(): void {
    this.post({ type: "start" });
  }

  /**
   * Gives the core an event; it is stepped once the input that is ready now was taken in. Ignored after the end, but for a
   * signal, which shortens what is left of it.
   */
  post(event: Event): void {
    if (this.#over) {
      // Who signals again does not wait for a relay that says nothing.
      if (event.type === "signal") this.#hurried.resolve();
      return;
    }
    this.#queue.push(event);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#ports.afterReadyInput(() => this.#flush());
  }

  /** Handler for the bus client's `state` event. */
  onTransport(transport: TransportState): void {
    switch (transport.state) {
      case "registered":
        this.post({ type: "bus.up", ...serving(transport.registered) });
        this.#background(this.#outbox.flush());
        return;
      case "waiting":
        return this.post({
          type: "bus.down",
          reason: transport.reason.kind,
          auth: transport.reason.kind === "auth",
        });
      case "closed":
        return this.post({ type: "bus.down", reason: transport.reason.kind, auth: false });
      case "idle":
      case "connecting":
        return;
    }
  }

  /** Handler for pushed messages. */
  onMessage(message: Message): void {
    this.post({ type: "offered", message });
  }

  /** Handler for dead letters that a person dropped. */
  onDropped(letter: { storeId: string; messageId: number; generation: number }): void {
    this.post({ type: "dropped", ...letter });
  }

  /** Handler for a wake from sleep: leases are older by it, whatever else is due. */
  onWake(): void {
    this.post({ type: "tick" });
  }

  /** Handler for pushed commands. */
  onCommand(command: CommandPayload): void {
    this.post({ type: "command", command });
  }

  /** Handler for the agent's hooks; `incarnation` null when the hook does not know it. */
  onHook(event: HookEvent, incarnation: number | null): void {
    if (!this.#over) this.#provider.hook(event, incarnation);
  }

  /** Process id of the agent, null while none runs. */
  get agentPid(): number | null {
    return this.#provider.pid;
  }

  /** Returns what is going on, for the control server. */
  view(): RunnerView {
    const { clock } = this.#ports;
    return viewOf(this.#state, { mono: clock.mono(), wall: clock.wall() });
  }

  #flush(): void {
    try {
      while (this.#queue.length > 0 && !this.#over) {
        const batch = this.#queue.splice(0, BATCH);
        const effects: Effect[] = [];
        for (const event of batch) {
          const { clock, random } = this.#ports;
          const now = { mono: clock.mono(), wall: clock.wall(), random: random() };
          this.#stepped = now.mono;
          for (const effect of step(this.#state, event, now).effects) effects.push(effect);
        }
        this.#perform(this.#writer.commit(effects));
      }
      // Mail that is fetched in pages as there is room for it would be pushed for nothing.
      this.#ports.bus.holdPushes(this.#state.intake === "behind");
    } catch (error) {
      // A bug must not leave an agent running without its supervisor: end in order, visibly.
      this.#ports.log.error("internal error in the runner", { error: messageOf(error) });
      this.#background(this.#end({
        cause: { kind: "error", code: "E_INTERNAL", message: messageOf(error) },
        deregister: false,
      }));
    } finally {
      this.#flushing = false;
      this.#armTick();
    }
  }

  #armTick(): void {
    const due = this.#over ? Infinity : nextDue(this.#state, this.#stepped);
    if (due === this.#tickAt) return;
    this.#cancelTick?.();
    this.#cancelTick = null;
    this.#tickAt = due;
    if (due === Infinity) return;
    this.#cancelTick = this.#ports.clock.setTimer(Math.max(1, due - this.#ports.clock.mono()), () => {
      this.#tickAt = Infinity;
      this.#cancelTick = null;
      this.post({ type: "tick" });
    });
  }

  /** Performs effects whose writes are on disk. */
  #perform(effects: Effect[]): void {
    const reports = effects.flatMap((effect) =>
      effect.type === "report" && effect.storeId !== LOCAL_STORE ? [effect] : []
    );
    if (reports.length > 0) this.#outbox.report(reports);
    this.#relay.acknowledge(effects);
    for (const effect of effects) this.#performOne(effect);
  }

  #performOne(effect: Effect): void {
    const { log, bus } = this.#ports;
    switch (effect.type) {
      case "persist":
      case "persist.command":
      case "persist.resume":
      case "ack":
        return;
      case "report":
        return this.#ports.stage(effect.report, effect.storeId === LOCAL_STORE);
      case "turn":
        return this.#ports.turn(effect.turn);
      case "spawn":
      case "deliver":
      case "probe":
      case "measure":
      case "interrupt":
      case "stop-provider":
        return this.#background(this.#provider.perform(effect));
      case "claim":
      case "renew":
      case "release":
      case "reply":
      case "resync":
      case "fetch":
      case "reoffered":
        return this.#background(this.#relay.perform(effect));
      case "publish":
        return bus.setStatus(effect.status);
      case "begin":
        return this.post(effect);
      case "command.update":
        return this.#outbox.update(effect.update);
      case "output":
        return this.#ports.output(effect.text);
      case "watchdog":
        return this.#ports.watchdog(effect.hardAfterMs);
      case "log":
        return log[effect.level](effect.message, effect.fields);
      case "exit":
        return this.#background(this.#end(effect.outcome));
    }
  }

  async #end(outcome: ExitOutcome): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    try {
      this.#ports.ending(outcome, reportOf(this.#state));
    } catch (error) {
      // The end goes on even when nobody can be told of it.
      this.#ports.log.error("the end of the run could not be told", { error: messageOf(error) });
    }
    this.#cancelTick?.();
    this.#writer.stop();
    this.#outbox.stop();
    await this.#provider.dispose();
    await finish(outcome, {
      ports: this.#ports,
      outbox: this.#outbox,
      relay: this.#relay,
      hurried: this.#hurried.promise,
    });
    this.#ended.resolve(outcome);
  }

  #background(promise: Promise<unknown>): void {
    promise.catch((error) =>
      this.#ports.log.error("unexpected failure of an effect", { error: messageOf(error) })
    );
  }
}

/** What the core needs to know of the relay that it is on. */
function serving({ storeId, serverTime }: Registered): { storeId: string; serverTime?: number } {
  return typeof serverTime === "number" && Number.isFinite(serverTime)
    ? { storeId, serverTime }
    : { storeId };
}
