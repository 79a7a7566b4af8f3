import type { Faults } from "./faults.ts";
import type { Random } from "./random.ts";
import { type RelayModel, RIVAL } from "./relay_model.ts";
import type { Timeline } from "./timeline.ts";

/** Another agent with our capability: takes free work, renews its lease, and sometimes dies with work in hand. */
export class Rival {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #relay: RelayModel;
  readonly #faults: Faults;
  readonly #leaseMs: number;
  #busy = false;
  #looking = false;
  #lives = 0;
  /** Called with the message id when its work is done, while its lease stands. */
  readonly #done: (id: number) => void;

  constructor(
    world: { timeline: Timeline; relay: RelayModel; faults: Faults },
    random: Random,
    leaseMs: number,
    done: (id: number) => void,
  ) {
    this.#timeline = world.timeline;
    this.#relay = world.relay;
    this.#faults = world.faults;
    this.#random = random;
    this.#leaseMs = leaseMs;
    this.#done = done;
    this.#relay.onNewMail(() => this.#lookSoon());
  }

  #lookSoon(): void {
    if (this.#looking || this.#busy) return;
    this.#looking = true;
    this.#timeline.after(this.#random.between(20, 3_000), () => {
      this.#looking = false;
      this.#look();
    });
  }

  #look(): void {
    if (this.#busy) return;
    if (this.#relay.down) return this.#lookSoon();
    const free = this.#relay.unread(RIVAL, 0, 50).filter((message) => message.claimable);
    if (free.length === 0) return;
    const { id, storeId } = free[this.#random.int(free.length)]!;
    if (!this.#relay.claim(id, RIVAL, `rival-${this.#lives}`, false).ok) return this.#lookSoon();
    this.#busy = true;
    const workMs = this.#random.chance(0.2)
      ? this.#random.between(5_000, 40_000)
      : this.#random.between(100, 4_000);
    const dies = this.#faults.fires("rival.dies");
    this.#work(id, storeId, this.#timeline.now + workMs, dies);
  }

  #work(id: number, storeId: string, endAt: number, dies: boolean): void {
    const { now } = this.#timeline;
    const nextRenewal = now + this.#leaseMs / 3;
    if (endAt <= nextRenewal) {
      this.#timeline.at(endAt, () => this.#end(id, storeId, dies));
      return;
    }
    this.#timeline.at(nextRenewal, () => {
      if (this.#relay.storeId === storeId && !this.#relay.down) {
        if (!this.#relay.claim(id, RIVAL, `rival-${this.#lives}`, true).ok) return this.#stop();
      }
      this.#work(id, storeId, endAt, dies);
    });
  }

  #end(id: number, storeId: string, dies: boolean): void {
    if (dies) {
      this.#lives++;
      // Half of the dead never come back.
      if (this.#random.chance(0.5)) return;
      return this.#stop();
    }
    // It is honest: without its lease it does not finish, and it does not say that it did.
    const mine = this.#relay.storeId === storeId && this.#relay.leaseLeft(id, RIVAL) > 0;
    if (mine && this.#relay.down) {
      this.#timeline.after(500, () => this.#end(id, storeId, dies));
      return;
    }
    if (mine) {
      this.#done(id);
      this.#relay.read(id, RIVAL);
    }
    this.#stop();
  }

  #stop(): void {
    this.#busy = false;
    this.#lookSoon();
  }
}
