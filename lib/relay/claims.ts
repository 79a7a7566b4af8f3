import type { Clock } from "../base/clock.ts";
import { RunnerError } from "../base/errors.ts";
import type { ClaimGrant } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";

/** Who asks for a claim. */
export interface Claimant {
  agentId: string;
  instanceId?: string | undefined;
}

interface ClaimRow {
  claimable: number;
  claimed_by: string | null;
  claimed_at: number | null;
  claim_expires_at: number | null;
}

const FREE =
  "UPDATE message SET claimed_by = NULL, claimed_instance = NULL, claimed_at = NULL, claim_expires_at = NULL WHERE id = ?";

/** A lease of this relay's life: its end on the monotonic clock, and what its message's row says of it. */
interface Lease {
  until: number;
  expiresAt: number;
}

/**
 * Who holds which claimable message, and until when. Methods that change something run inside a group commit.
 *
 * A lease ends by the monotonic clock: a wall clock that somebody sets gives nobody the work of another, and leaves no
 * work with one that is gone. The wall time in the row is for people, and for a relay that starts anew.
 */
export class ClaimStore {
  readonly #db: RelayDatabase;
  readonly #leaseMs: number;
  readonly #clock: Pick<Clock, "mono" | "wall">;
  readonly #leases = new Map<number, Lease>();

  constructor(db: RelayDatabase, leaseMs: number, clock: Pick<Clock, "mono" | "wall">) {
    this.#db = db;
    this.#leaseMs = leaseMs;
    this.#clock = clock;
    const held = db.all<{ id: number; at: number }>(
      "SELECT id, claim_expires_at AS at FROM message WHERE claim_expires_at IS NOT NULL",
    );
    for (const { id, at } of held) {
      const restMs = Math.max(0, Math.min(leaseMs, at - clock.wall()));
      this.#leases.set(id, { until: clock.mono() + restMs, expiresAt: at });
    }
  }

  #isLive(id: number, { claimed_by, claim_expires_at }: ClaimRow): boolean {
    if (claimed_by === null || claim_expires_at === null) return false;
    const lease = this.#leases.get(id);
    // What the row says and nobody was told yet was granted in this very commit.
    return lease === undefined || lease.expiresAt !== claim_expires_at || lease.until > this.#clock.mono();
  }

  /**
   * Grants the lease of a claimable message to one agent; {@linkcode granted} must be called once that is on disk. Throws `E_NOT_FOUND`,
   * `E_BAD_REQUEST`, `E_FORBIDDEN`, `E_CONFLICT`.
   */
  claim(id: number, by: Claimant, now: number, renewal: boolean): ClaimGrant {
    const row = this.#db.get<ClaimRow>(
      "SELECT claimable, claimed_by, claimed_at, claim_expires_at FROM message WHERE id = ?",
      id,
    );
    if (row === undefined) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
    if (row.claimable === 0) throw new RunnerError("E_BAD_REQUEST", `message ${id} is not claimable`);
    const mine = this.#db.get<{ closed: number }>(
      "SELECT closed FROM recipient WHERE message_id = ? AND agent_id = ?",
      id,
      by.agentId,
    );
    if (mine === undefined) throw new RunnerError("E_FORBIDDEN", `message ${id} is not for ${by.agentId}`);
    const live = this.#isLive(id, row);
    // The same agent with a new instance takes its own claim over: registration has fenced the old instance.
    const holder = row.claimed_by === by.agentId;
    if (mine.closed !== 0 || (live && !holder) || (renewal && row.claimed_by !== null && !holder)) {
      throw new RunnerError("E_CONFLICT", `message ${id} is held by ${row.claimed_by ?? "another agent"}`);
    }
    this.#db.run(
      "UPDATE message SET claimed_by = ?, claimed_instance = ?, claimed_at = ?, claim_expires_at = ? WHERE id = ?",
      by.agentId,
      by.instanceId ?? null,
      holder && live ? row.claimed_at : now,
      now + this.#leaseMs,
      id,
    );
    return {
      ok: true,
      messageId: id,
      claimedBy: by.agentId,
      leaseMs: this.#leaseMs,
      claimExpiresAt: now + this.#leaseMs,
    };
  }

  /** The grant is on disk: its lease begins. */
  granted({ messageId, leaseMs, claimExpiresAt }: ClaimGrant): void {
    this.#leases.set(messageId, { until: this.#clock.mono() + leaseMs, expiresAt: claimExpiresAt });
  }

  /** Gives a claim back; returns true when the message is free again and has to be offered. */
  release(id: number, by: Claimant): boolean {
    const { changes } = this.#db.run(`${FREE} AND claimed_by = ?`, id, by.agentId);
    return changes > 0;
  }

  /** When the first lease runs out, on the monotonic clock. */
  nextExpiry(): number {
    let next = Infinity;
    for (const { until } of this.#leases.values()) next = Math.min(next, until);
    return next;
  }

  /**
   * Ends claims whose lease ran out; returns their messages, to be offered again, and all leases whose time is over, for
   * {@linkcode forget} once that is on disk.
   */
  expire(): { freed: number[]; over: ReadonlyMap<number, Lease> } {
    const now = this.#clock.mono();
    const over = new Map([...this.#leases].filter(([, { until }]) => until <= now));
    const freed: number[] = [];
    for (const [id, { expiresAt }] of over) {
      // It may have been given back, done or renewed.
      if (this.#db.run(`${FREE} AND claim_expires_at = ?`, id, expiresAt).changes > 0) freed.push(id);
    }
    return { freed, over };
  }

  /** Forgets leases that are over, unless another one was granted since. */
  forget(over: ReadonlyMap<number, Lease>): void {
    for (const [id, lease] of over) if (this.#leases.get(id) === lease) this.#leases.delete(id);
  }
}
