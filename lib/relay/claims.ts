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

/** Who holds which claimable message, and until when. Methods that change something run inside a group commit. */
export class ClaimStore {
  readonly #db: RelayDatabase;
  readonly #leaseMs: number;

  constructor(db: RelayDatabase, leaseMs: number) {
    this.#db = db;
    this.#leaseMs = leaseMs;
  }

  /** Grants the lease of a claimable message to one agent. Throws `E_NOT_FOUND`, `E_BAD_REQUEST`, `E_FORBIDDEN`, `E_CONFLICT`. */
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
    const live = row.claimed_by !== null && (row.claim_expires_at ?? 0) > now;
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

  /** Gives a claim back; returns true when the message is free again and has to be offered. */
  release(id: number, by: Claimant): boolean {
    const { changes } = this.#db.run(`${FREE} AND claimed_by = ?`, id, by.agentId);
    return changes > 0;
  }

  /** When the first lease runs out. */
  nextExpiry(): number {
    const { at } = this.#db.get<{ at: number | null }>(
      "SELECT min(claim_expires_at) AS at FROM message WHERE claim_expires_at IS NOT NULL",
    )!;
    return at ?? Infinity;
  }

  /** Ends claims whose lease ran out; returns their messages, to be offered again. */
  expire(now: number): number[] {
    const lapsed = this.#db.all<{ id: number }>(
      "SELECT id FROM message WHERE claim_expires_at <= ? AND claim_expires_at IS NOT NULL",
      now,
    );
    for (const { id } of lapsed) this.#db.run(FREE, id);
    return lapsed.map(({ id }) => id);
  }
}
