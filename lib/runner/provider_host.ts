import { TIMED_OUT, withDeadline } from "../base/clock.ts";
import { messageOf, RunnerError } from "../base/errors.ts";
import { LOCAL_STORE } from "../inbox/core/row.ts";
import type { HookEvent, ProviderSession } from "../providers/contract.ts";
import type { Effect, Event } from "./core/types.ts";
import type { RunnerPorts } from "./ports.ts";
import { withCleanReasons } from "./reasons.ts";

/** Deadline of one hand-over. */
const HAND_MS = 30_000;
/** How long a hard end waits for a provider that is just being started. */
const START_MS = 500;
/** How long a start waits for the end of one that was given up, before it fails and is tried again. */
const LATE_MS = 30_000;

type ProviderEffect = Extract<
  Effect,
  { type: "spawn" | "deliver" | "probe" | "measure" | "interrupt" | "stop-provider" }
>;

/** Starts, feeds and ends the provider, one incarnation at a time, and turns what happens into events. */
export class ProviderHost {
  readonly #ports: RunnerPorts;
  readonly #post: (event: Event) => void;
  #current: { incarnation: number; session: Promise<ProviderSession | null> } | null = null;
  /** The end of a provider whose start was given up; the next one must not live beside it. */
  #givenUp: Promise<unknown> | null = null;
  #pid: number | null = null;

  constructor(ports: RunnerPorts, post: (event: Event) => void) {
    this.#ports = ports;
    this.#post = (event) => post(withCleanReasons(event, ports.redact));
  }

  /** Process id of the provider, null while none runs. */
  get pid(): number | null {
    return this.#pid;
  }

  /** Performs one effect; its outcome comes back as an event. */
  async perform(effect: ProviderEffect): Promise<void> {
    switch (effect.type) {
      case "spawn":
        return this.#spawn(effect);
      case "deliver":
        return await this.#deliver(effect);
      case "probe":
        return await this.#probe(effect);
      case "measure":
        return await this.#measure(effect);
      case "interrupt":
        return await (await this.#current?.session)?.interrupt();
      case "stop-provider":
        // Only the end of a run is that hard, and its two seconds are for the terminal as well.
        await Promise.all([
          this.#stop(effect),
          effect.graceful ? null : this.#ports.adapter.dispose?.(effect),
        ]);
        return;
    }
  }

  /** Passes a hook on to the provider that runs now; those of an earlier incarnation (null: not known) are dropped. */
  hook(event: HookEvent, incarnation: number | null): void {
    const current = this.#current;
    if (current === null || (incarnation !== null && incarnation !== current.incarnation)) return;
    void current.session.then((session) => session?.hook?.(event));
  }

  /** Ends whatever still runs, at once. Used when the run is over. */
  async dispose(): Promise<void> {
    await this.#stop({ graceful: false, timeoutMs: 0 });
    await this.#ports.adapter.dispose?.({ graceful: true });
  }

  /**
   * Stops the provider, also one that is still being started: as soon as it is there, and when that takes too long
   * it is given up, so that a start that hangs does not hold up the end.
   */
  async #stop(options: { graceful: boolean; timeoutMs: number }): Promise<void> {
    const current = this.#current;
    if (current === null) return;
    const waitMs = options.graceful ? options.timeoutMs : START_MS;
    const { clock } = this.#ports;
    const began = clock.mono();
    const session = await withDeadline(clock, waitMs, current.session);
    if (session !== TIMED_OUT) {
      // Both share one grace: the end as a whole is bounded.
      const leftMs = Math.max(0, options.timeoutMs - (clock.mono() - began));
      await session?.shutdown({ graceful: options.graceful, timeoutMs: leftMs });
      return;
    }
    if (this.#current === current) this.#current = null;
    this.#givenUp = current.session.then((late) => late?.shutdown({ graceful: false, timeoutMs: 0 }))
      .catch(() => {});
    const reason = "stopped before it had started";
    this.#post({ type: "spawn.failed", incarnation: current.incarnation, permanent: false, reason });
  }

  #spawn({ type: _, ...start }: Extract<ProviderEffect, { type: "spawn" }>): void {
    const { incarnation } = start;
    const { adapter, processes, clock, random, log, monitor } = this.#ports;
    const session = (async (): Promise<ProviderSession | null> => {
      try {
        if (this.#givenUp !== null) {
          const over = await withDeadline(clock, LATE_MS, this.#givenUp);
          if (over === TIMED_OUT) throw new Error("the start before this one still hangs");
          if (this.#current?.incarnation !== incarnation) return null;
        }
        const started = await adapter.spawn(this.#ports.launch(start), {
          processes,
          monitor,
          clock,
          random,
          log: log.child(adapter.provider),
          emit: (event) => this.#post({ type: "provider", incarnation, event }),
        });
        this.#pid = started.pid;
        this.#post({ type: "spawned", incarnation });
        started.exited.then(({ lastWords, ...status }) => {
          if (this.#pid === started.pid) this.#pid = null;
          try {
            this.#ports.providerEnded?.(status);
          } catch (error) {
            // The core must hear of the end whatever else goes wrong with it: it would wait for it for ever.
            log.warn("not everything is in order after the agent's end", { error: messageOf(error) });
          }
          log.debug("the provider ended", { ...status, last: lastWords ?? "" });
          const said = lastWords === undefined ? {} : { lastWords };
          this.#post({ type: "exited", incarnation, status: { ...status, ...said } });
        });
        return started;
      } catch (error) {
        const permanent = error instanceof RunnerError && error.code === "E_PROVIDER_CMD";
        const hint = error instanceof RunnerError && error.hint !== undefined ? `. ${error.hint}` : "";
        const reason = messageOf(error) + hint;
        this.#post({ type: "spawn.failed", incarnation, permanent, reason });
        return null;
      }
    })();
    this.#current = { incarnation, session };
  }

  async #deliver(effect: Extract<Effect, { type: "deliver" }>): Promise<void> {
    const { key, deliveryId, message, redelivery } = effect;
    const fail = (reason: string) => this.#post({ type: "hand.failed", key, deliveryId, reason });
    const session = await this.#sessionOf(effect.incarnation);
    if (!session) return fail("the provider is gone");
    const text = message.storeId === LOCAL_STORE ? message.body : this.#ports.frame(message, redelivery);
    const when = message.when ?? "idle";
    const abort = new AbortController();
    const cancel = this.#ports.clock.setTimer(
      HAND_MS,
      () => abort.abort(new Error("hand-over took over 30 s")),
    );
    try {
      const { id: messageId, from } = message;
      await session.deliver({ deliveryId, messageId, from, text, when }, abort.signal);
      this.#post({ type: "handed", key, deliveryId });
    } catch (error) {
      fail(messageOf(error));
    } finally {
      cancel();
    }
  }

  async #probe(effect: Extract<Effect, { type: "probe" }>): Promise<void> {
    const { incarnation, deliveryIds } = effect;
    const session = await this.#sessionOf(incarnation);
    if (!session) return;
    const abort = new AbortController();
    const asked = session.probe(deliveryIds, abort.signal);
    const results = await withDeadline(this.#ports.clock, HAND_MS, asked);
    if (typeof results === "symbol") {
      abort.abort(new Error("the provider's record did not answer within 30 s"));
      const unknown = deliveryIds.map((id) =>
        [id, { state: "unknown" as const, reason: "timed out" }] as const
      );
      return this.#post({ type: "probed", incarnation, results: new Map(unknown) });
    }
    this.#post({ type: "probed", incarnation, results });
  }

  async #measure({ incarnation }: Extract<Effect, { type: "measure" }>): Promise<void> {
    const pid = this.#current?.incarnation === incarnation ? this.#pid : null;
    const cpuMs = pid === null ? null : await this.#ports.cpuMs(pid);
    this.#post({ type: "measured", incarnation, cpuMs });
  }

  async #sessionOf(incarnation: number): Promise<ProviderSession | null> {
    if (this.#current?.incarnation !== incarnation) return null;
    return await this.#current.session;
  }
}
