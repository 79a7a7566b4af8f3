import { RunnerError, shown } from "../base/errors.ts";
import type { CommandUpdatePayload } from "../protocol/frames.ts";
import type { Command, CommandStatus } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";

/** A command that nobody accepted within this time expires, unless its sender said otherwise. */
const PENDING_MS = 60_000;
const TTL_CAP_MS = 86_400_000;
/** A command that runs is given up after this time. */
const RUNNING_MS = 3_600_000;
/** Characters of an error that are kept. */
const ERROR_LIMIT = 2_000;
const ORDER: readonly CommandStatus[] = ["pending", "accepted", "running"];

interface CommandRow {
  id: string;
  type: string;
  target: string;
  source: string | null;
  params: string;
  status: string;
  result: string | null;
  error: string | null;
  correlation_id: string | null;
  created_at: number;
  updated_at: number;
  expires_at: number;
}

/** What a sender of a command says. */
export interface CommandInput {
  type: string;
  /** An agent's id, or that of its component; the command then names the agent. */
  target: string;
  params?: Record<string, unknown> | undefined;
  source?: string | undefined;
  correlationId?: string | undefined;
  ttlMs?: number | undefined;
}

/** Lifecycle commands with their states; terminal states are final. */
export class CommandStore {
  readonly #db: RelayDatabase;

  constructor(db: RelayDatabase) {
    this.#db = db;
  }

  create(input: CommandInput, now: number): Command {
    const id = crypto.randomUUID();
    const ttlMs = Math.ceil(Math.min(Math.max(1_000, input.ttlMs ?? PENDING_MS), TTL_CAP_MS));
    this.#db.run(
      `INSERT INTO command (id, type, target, source, params, status, correlation_id, created_at, updated_at, expires_at)
       VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)`,
      id,
      input.type,
      input.target,
      input.source ?? null,
      JSON.stringify(input.params ?? {}),
      input.correlationId ?? null,
      now,
      now,
      now + ttlMs,
    );
    return this.one(id)!;
  }

  one(id: string): Command | undefined {
    const row = this.#db.get<CommandRow>("SELECT * FROM command WHERE id = ?", id);
    return row === undefined ? undefined : commandOf(row);
  }

  list(): Command[] {
    return this.#db.all<CommandRow>("SELECT * FROM command ORDER BY created_at DESC LIMIT 200").map(
      commandOf,
    );
  }

  /** Commands an agent has not accepted yet. */
  pending(agentId: string, now: number): Command[] {
    return this.#db.all<CommandRow>(
      // The list of the index, which SQLite does not see that the one status is in.
      `SELECT * FROM command WHERE status IN ('pending', 'accepted', 'running') AND target = ?
         AND status = 'pending' AND expires_at > ? ORDER BY created_at`,
      agentId,
      now,
    ).map(commandOf);
  }

  /** Commands that wait for a component become those of its agent. */
  adopt(componentId: string, agentId: string): void {
    this.#db.run(
      "UPDATE command SET target = ? WHERE status IN ('pending', 'accepted', 'running') AND target = ?",
      agentId,
      componentId,
    );
  }

  /** Moves a command on. Steps back and updates after a terminal state are ignored. */
  update(update: CommandUpdatePayload, now: number): Command {
    const row = this.#db.get<CommandRow>("SELECT * FROM command WHERE id = ?", update.commandId);
    if (row === undefined) throw new RunnerError("E_NOT_FOUND", "the command is not here");
    const at = ORDER.indexOf(row.status as CommandStatus);
    const next = ORDER.indexOf(update.status);
    const terminal = ["succeeded", "failed", "canceled", "expired"].includes(update.status);
    if (!terminal && next < 0) throw new RunnerError("E_UNPROCESSABLE", "unknown command status");
    if (at >= 0 && (terminal || next > at)) {
      this.#db.run(
        "UPDATE command SET status = ?, result = ?, error = ?, updated_at = ?, expires_at = ? WHERE id = ?",
        update.status,
        update.result === undefined ? null : JSON.stringify(update.result),
        update.error === undefined ? null : shown(update.error, ERROR_LIMIT),
        now,
        now + RUNNING_MS,
        update.commandId,
      );
    }
    return this.one(update.commandId)!;
  }

  /** When the time of the first command that has not ended is over. */
  nextExpiry(): number {
    const { at } = this.#db.get<{ at: number | null }>(
      "SELECT min(expires_at) AS at FROM command WHERE status IN ('pending', 'accepted', 'running')",
    )!;
    return at ?? Infinity;
  }

  /** Ends commands whose time ran out; returns their ids. */
  expire(now: number): string[] {
    const late = this.#db.all<{ id: string }>(
      "SELECT id FROM command WHERE status IN ('pending', 'accepted', 'running') AND expires_at <= ?",
      now,
    );
    for (const { id } of late) {
      this.#db.run(
        "UPDATE command SET status = 'expired', updated_at = ?, error = 'nobody took it in time' WHERE id = ?",
        now,
        id,
      );
    }
    return late.map(({ id }) => id);
  }

  remove(id: string): boolean {
    return this.#db.run("DELETE FROM command WHERE id = ?", id).changes > 0;
  }
}

function commandOf(row: CommandRow): Command {
  return {
    id: row.id,
    type: row.type,
    target: row.target,
    params: JSON.parse(row.params) as Record<string, unknown>,
    status: row.status as CommandStatus,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    expiresAt: row.expires_at,
    ...(row.source === null ? {} : { source: row.source }),
    ...(row.result === null ? {} : { result: JSON.parse(row.result) as unknown }),
    ...(row.error === null ? {} : { error: row.error }),
    ...(row.correlation_id === null ? {} : { correlationId: row.correlation_id }),
  };
}
