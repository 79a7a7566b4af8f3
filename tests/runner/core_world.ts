import type { JournalRow, JournalSnapshot } from "../../lib/inbox/contract.ts";
import type { Message } from "../../lib/protocol/message.ts";
import type { ProviderEvent } from "../../lib/providers/contract.ts";
import { nextDue } from "../../lib/runner/core/due.ts";
import { SERVE } from "../../lib/runner/core/goal.ts";
import { initialState } from "../../lib/runner/core/state.ts";
import { step } from "../../lib/runner/core/step.ts";
import type { CoreConfig, Effect, Event, State } from "../../lib/runner/core/types.ts";

export const STORE = "7b1d5a52-1111-4222-8333-444455556666";

export const CONFIG: CoreConfig = {
  agentId: "host-echo-api-1a2b",
  runnerId: "host-echo-api-deadbeef",
  instanceId: "instance-1",
  provider: "echo",
  label: "api",
  tags: ["echo", "gpu"],
  capabilities: ["review"],
  headless: true,
  goal: SERVE,
  conversation: "last",
  window: 1,
  remoteLifecycle: true,
  drainTimeoutMs: 20_000,
  stopGraceMs: 10_000,
  settleMs: 5_000,
  probeAfterMs: 60_000,
  startTimeoutMs: 60_000,
  stallTimeoutMs: 900_000,
  maxFailures: 5,
  maxQueue: 10,
  maxBodyBytes: 16 * 1024 * 1024,
};

const EMPTY: JournalSnapshot = {
  open: [],
  known: [],
  left: [],
  dead: [],
  commands: [],
  resume: null,
  incarnation: 0,
  quarantined: [],
};

/** Returns a message of the relay. */
export function message(id: number, change: Partial<Message> = {}): Message {
  return {
    id,
    storeId: STORE,
    from: "alice",
    to: CONFIG.agentId,
    kind: "chat",
    body: `body ${id}`,
    claimable: false,
    createdAt: 1,
    ...change,
  };
}

/** Drives the pure core by hand: every event is a call, every effect is recorded. */
export class CoreWorld {
  readonly state: State;
  readonly effects: Effect[] = [];
  mono = 1_000;
  /** What the wall clock is ahead of the monotonic one beyond the usual: the machine slept, or it was set. */
  wallAheadMs = 0;
  random = 0.5;
  #stepped = -Infinity;

  constructor(change: Partial<CoreConfig> = {}, snapshot: Partial<JournalSnapshot> = {}) {
    this.state = initialState({ ...CONFIG, ...change }, { ...EMPTY, ...snapshot });
  }

  /** Steps one event and returns the effects of that step alone. */
  post(event: Event): Effect[] {
    this.#stepped = this.mono;
    const now = {
      mono: this.mono,
      wall: 1_700_000_000_000 + this.mono + this.wallAheadMs,
      random: this.random,
    };
    const { effects } = step(this.state, event, now);
    this.effects.push(...effects);
    // The disk of this world takes everything.
    for (const effect of [...effects]) if (effect.type === "begin") effects.push(...this.post(effect));
    return effects;
  }

  provider(event: ProviderEvent): Effect[] {
    return this.post({ type: "provider", incarnation: this.state.incarnation, event });
  }

  /** Brings the runner to: bus up, provider ready and idle. */
  up(): this {
    this.post({ type: "start" });
    this.post({ type: "bus.up", storeId: STORE });
    this.post({ type: "spawned", incarnation: this.state.incarnation });
    this.provider({ type: "ready", resume: "conversation-1" });
    this.effects.length = 0;
    return this;
  }

  /** Moves the time to the next due tick (at most `maxMs` ahead) and ticks; false when nothing is due. */
  tick(maxMs = 3_600_000): boolean {
    const due = nextDue(this.state, this.#stepped);
    if (due > this.mono + maxMs) return false;
    this.mono = Math.max(this.mono, due);
    this.post({ type: "tick" });
    return true;
  }

  after(ms: number): Effect[] {
    this.mono += ms;
    return this.post({ type: "tick" });
  }

  of<T extends Effect["type"]>(type: T, effects: Effect[] = this.effects): Extract<Effect, { type: T }>[] {
    return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
  }

  row(id: number): JournalRow | undefined {
    return this.state.rows.get(`${STORE}/${id}`);
  }

  /** The delivery that is with the provider now. */
  get delivery(): string {
    const last = this.of("deliver").at(-1);
    if (!last) throw new Error("nothing was delivered");
    return last.deliveryId;
  }

  status() {
    return this.of("publish").at(-1)?.status;
  }
}
