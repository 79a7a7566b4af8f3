import type { RegisterPayload, StatusPayload } from "../protocol/frames.ts";
import { IDENTIFIER, type Target } from "../protocol/ids.ts";
import { RunnerError, shown } from "../base/errors.ts";
import type { AgentCard, AgentStatus, BusRole } from "../protocol/message.ts";
import type { RelayDatabase } from "./database.ts";

/** Without its socket for this long an agent is stale, then offline. */
const STALE_MS = 10_000;
const OFFLINE_MS = 300_000;
/** Who was not heard of for this long is forgotten. */
const FORGET_MS = 30 * 86_400_000;
/** Agents forgotten in one step. */
const FORGET_STEP = 500;

const INSTANCE = /^[!-~]{1,128}$/;
/** Tags, and capabilities, of one agent. */
const WORDS = 256;

interface AgentRow {
  id: string;
  component_id: string;
  role: string;
  label: string | null;
  machine: string;
  tags: string;
  capabilities: string;
  status: string;
  ready: number;
  instance_id: string;
  epoch: number;
  meta: string;
  status_meta: string;
  last_seen: number;
  created_at: number;
}

/** What agents say of themselves all the time. */
export type Saying = Pick<AgentRow, "status" | "ready" | "status_meta" | "last_seen">;

/**
 * Who is on the bus. What a card shows is derived from the row, the time and whether its socket is open.
 *
 * What agents say of themselves is kept in memory and written once a second: every turn changes it several times, a
 * commit for each would stand in the way of the messages, and after a crash of the relay every agent says it again.
 */
export class AgentDirectory {
  readonly #db: RelayDatabase;
  readonly #isConnected: (agentId: string) => boolean;
  /** What was said and is not in the database yet, by agent id. */
  readonly #said = new Map<string, Saying>();

  constructor(db: RelayDatabase, isConnected: (agentId: string) => boolean) {
    this.#db = db;
    this.#isConnected = isConnected;
  }

  /**
   * Stores a registration. `by` is the agent whose token registers, null for the operator. The epoch rises over all agents,
   * so that a token of a deleted one never counts again. Throws `E_UNPROCESSABLE`, `E_CONFLICT` and `E_FORBIDDEN`.
   */
  register(
    payload: RegisterPayload,
    now: number,
    by: string | null = null,
  ): { agentId: string; epoch: number } {
    const agentId = payload.agentId ?? payload.componentId;
    for (const name of [agentId, payload.componentId]) {
      if (!IDENTIFIER.test(name)) {
        throw new RunnerError("E_UNPROCESSABLE", "ids have 1 to 64 of A-Za-z0-9._-");
      }
    }
    if (!INSTANCE.test(payload.instanceId)) {
      throw new RunnerError("E_UNPROCESSABLE", "an instance id has 1 to 128 printable characters");
    }
    if (Math.max(payload.tags.length, payload.capabilities.length) > WORDS) {
      throw new RunnerError(
        "E_UNPROCESSABLE",
        `an agent has at most ${WORDS} tags and ${WORDS} capabilities`,
      );
    }
    for (const name of [...payload.tags, ...payload.capabilities]) {
      if (!IDENTIFIER.test(name)) {
        throw new RunnerError("E_UNPROCESSABLE", "tags and capabilities have 1 to 64 of A-Za-z0-9._-");
      }
    }
    const label = typeof payload.meta?.label === "string" ? payload.meta.label : null;
    if (label !== null && !IDENTIFIER.test(label)) {
      throw new RunnerError("E_UNPROCESSABLE", "a label has 1 to 64 of A-Za-z0-9._-");
    }
    const existing = this.#row(agentId);
    this.#claimNames(agentId, payload.componentId, { own: existing?.component_id, by });
    this.#said.delete(agentId);
    const same = existing?.instance_id === payload.instanceId;
    const epoch = same ? existing.epoch : this.#nextEpoch();
    this.#db.run(
      `INSERT OR REPLACE INTO agent (id, component_id, role, label, machine, tags, capabilities, status, ready,
         instance_id, epoch, meta, last_seen, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      agentId,
      payload.componentId,
      payload.role,
      label,
      shown(payload.machine, 128),
      JSON.stringify(payload.tags),
      JSON.stringify(payload.capabilities),
      same ? existing.status : "online",
      same ? existing.ready : 0,
      payload.instanceId,
      epoch,
      JSON.stringify(payload.meta ?? {}),
      now,
      existing?.created_at ?? now,
    );
    return { agentId, epoch };
  }

  /**
   * Makes sure that a name means one agent. An id is chosen by whoever has the relay's token, and whoever registers under
   * it has it: another agent that calls its component so is called by its own id from then on. A component's name goes to
   * who comes first with it, for as long as that agent is connected, and to no agent that only has its own token: it could
   * take what another run will want, or the commands for it.
   */
  #claimNames(
    agentId: string,
    componentId: string,
    { own, by }: { own: string | undefined; by: string | null },
  ): void {
    const rename = (name: string) =>
      this.#db.run("UPDATE agent SET component_id = id WHERE component_id = ? AND id <> ?", name, agentId);
    if (componentId !== agentId) {
      if (by !== null && componentId !== own) {
        throw new RunnerError(
          "E_FORBIDDEN",
          `this token registers ${by} as the component it is, or as ${by}`,
        );
      }
      if (this.epoch(componentId) !== undefined) {
        throw new RunnerError("E_CONFLICT", `${componentId} is the id of another agent`);
      }
      const holders = this.#db.all<{ id: string }>(
        "SELECT id FROM agent WHERE component_id = ? AND id <> ?",
        componentId,
        agentId,
      );
      if (componentId !== own && holders.some(({ id }) => this.#isConnected(id))) {
        throw new RunnerError("E_CONFLICT", `${componentId} is the component of another agent`);
      }
      rename(componentId);
    }
    rename(agentId);
  }

  #nextEpoch(): number {
    const row = this.#db.get<{ value: string }>("SELECT value FROM fact WHERE name = 'epoch'");
    const epoch = Number(row?.value ?? 0) + 1;
    this.#db.run("INSERT OR REPLACE INTO fact (name, value) VALUES ('epoch', ?)", String(epoch));
    return epoch;
  }

  /** Takes a status; without effect when the agent was deleted, which must not bring it back. */
  status(agentId: string, payload: StatusPayload, now: number): void {
    const row = this.#row(agentId);
    if (row === undefined) return;
    this.#said.set(agentId, {
      status: payload.agentStatus,
      ready: (payload.ready ?? row.ready === 1) ? 1 : 0,
      status_meta: payload.meta === undefined ? row.status_meta : JSON.stringify(payload.meta),
      last_seen: now,
    });
  }

  /** The agent was heard, or its socket closed: from now on it counts as gone when it stays silent. */
  seen(agentId: string, now: number, status?: AgentStatus): void {
    const row = this.#row(agentId);
    if (row === undefined) return;
    const { ready, status_meta } = row;
    this.#said.set(agentId, { status: status ?? row.status, ready, status_meta, last_seen: now });
  }

  /** True when something was said that is not in the database yet. */
  get unwritten(): boolean {
    return this.#said.size > 0;
  }

  /** Writes what is not in the database yet and returns it, for {@linkcode persisted} once it is on disk. */
  persist(): ReadonlyMap<string, Saying> {
    for (const [agentId, { status, ready, status_meta, last_seen }] of this.#said) {
      this.#db.run(
        "UPDATE agent SET status = ?, ready = ?, status_meta = ?, last_seen = ? WHERE id = ?",
        status,
        ready,
        status_meta,
        last_seen,
        agentId,
      );
    }
    return new Map(this.#said);
  }

  /** What {@linkcode persist} wrote is on disk. */
  persisted(written: ReadonlyMap<string, Saying>): void {
    for (const [agentId, saying] of written) {
      if (this.#said.get(agentId) === saying) this.#said.delete(agentId);
    }
  }

  /** Changes single members of a card. */
  patch(agentId: string, change: { label?: string | null; tags?: string[]; ready?: boolean }): boolean {
    const row = this.#row(agentId);
    if (row === undefined) return false;
    if (change.tags !== undefined && change.tags.length > WORDS) {
      throw new RunnerError("E_UNPROCESSABLE", `an agent has at most ${WORDS} tags`);
    }
    const meta = JSON.parse(row.meta) as Record<string, unknown>;
    if (change.label !== undefined) meta.label = change.label;
    this.#db.run(
      "UPDATE agent SET label = ?, tags = ?, ready = ?, meta = ? WHERE id = ?",
      change.label === undefined ? row.label : change.label,
      change.tags === undefined ? row.tags : JSON.stringify(change.tags),
      change.ready === undefined ? row.ready : change.ready ? 1 : 0,
      JSON.stringify(meta),
      agentId,
    );
    const said = this.#said.get(agentId);
    if (said !== undefined && change.ready !== undefined) {
      this.#said.set(agentId, { ...said, ready: change.ready ? 1 : 0 });
    }
    return true;
  }

  /** Forgets an agent; its unread mail stays, for a later run under the same id. */
  remove(agentId: string): boolean {
    this.#said.delete(agentId);
    return this.#db.run("DELETE FROM agent WHERE id = ?", agentId).changes > 0;
  }

  /**
   * Forgets agents of long ago for which no mail waits and no dead letter is kept, and returns their ids; those that come
   * back register anew. A machine that wakes after all that time finds its own agents connected, and as old.
   */
  forgetSilent(now: number): string[] {
    const silent = this.#db.all<{ id: string }>(
      `SELECT id FROM agent WHERE last_seen < ? AND NOT EXISTS (
         SELECT 1 FROM recipient r WHERE r.agent_id = agent.id AND r.closed = 0)
       AND id NOT IN (SELECT agent_id FROM recipient WHERE closed = 2) ORDER BY id LIMIT ?`,
      now - FORGET_MS,
      FORGET_STEP,
    );
    return silent.map(({ id }) => id)
      .filter((id) => !this.#isConnected(id) && !this.#said.has(id))
      .filter((id) => this.remove(id));
  }

  /** Current epoch of an agent, undefined when it is not registered. */
  epoch(agentId: string): number | undefined {
    return this.#db.get<{ epoch: number }>("SELECT epoch FROM agent WHERE id = ?", agentId)?.epoch;
  }

  /** The id of the agent that a name means, its own or that of its component. */
  idOf(name: string): string | undefined {
    if (this.epoch(name) !== undefined) return name;
    return this.#db.get<{ id: string }>("SELECT id FROM agent WHERE component_id = ?", name)?.id;
  }

  /** The card of an agent, by its id or its component id. */
  one(name: string, now: number): AgentCard | undefined {
    const row = this.#row(this.idOf(name) ?? name);
    return row === undefined ? undefined : this.#card(row, now);
  }

  /** All cards, or those that match every member of the filter. */
  list(filter: { tag?: string; cap?: string; label?: string; status?: string }, now: number): AgentCard[] {
    return this.#now("SELECT * FROM agent ORDER BY id").map((row) => this.#card(row, now))
      .filter((card) =>
        (filter.tag === undefined || card.tags.includes(filter.tag)) &&
        (filter.cap === undefined || card.capabilities.includes(filter.cap)) &&
        (filter.label === undefined || card.label === filter.label) &&
        (filter.status === undefined || card.status === filter.status)
      );
  }

  /** Agents a target means now. Groups leave out the sender and whoever is offline. */
  match(target: Target, now: number, from: string): string[] {
    if (target.kind === "agent") {
      const there = this.#db.get("SELECT 1 AS one FROM agent WHERE id = ?", target.value);
      return there === undefined ? [] : [target.value];
    }
    return this.list({}, now)
      .filter((card) => card.status !== "offline" && card.id !== from && fits(card, target))
      .map((card) => card.id);
  }

  /** All targets that mean this agent. */
  targetsOf(agentId: string): string[] {
    const row = this.#row(agentId);
    return [agentId, "broadcast", ...row === undefined ? [] : groupsOf(this.#card(row, 0))];
  }

  /** Everything a person could have meant as a target. */
  targets(now: number): string[] {
    return this.list({}, now).flatMap((card) => [
      card.id,
      ...groupsOf(card),
    ]);
  }

  #row(id: string): AgentRow | undefined {
    return this.#now("SELECT * FROM agent WHERE id = ?", id)[0];
  }

  /** Rows as they are now. */
  #now(sql: string, ...values: string[]): AgentRow[] {
    return this.#db.all<AgentRow>(sql, ...values).map((row) => ({ ...row, ...this.#said.get(row.id) }));
  }

  #card(row: AgentRow, now: number): AgentCard {
    const connected = this.#isConnected(row.id);
    const silentMs = now - row.last_seen;
    const reported = row.status as AgentStatus;
    const status: AgentStatus = connected || reported === "offline"
      ? reported
      : silentMs >= OFFLINE_MS
      ? "offline"
      : silentMs >= STALE_MS
      ? "stale"
      : reported;
    return {
      id: row.id,
      componentId: row.component_id,
      kind: row.role as BusRole,
      ...(row.label === null ? {} : { label: row.label }),
      machine: row.machine,
      tags: JSON.parse(row.tags) as string[],
      capabilities: JSON.parse(row.capabilities) as string[],
      status,
      ready: connected && row.ready === 1,
      instanceId: row.instance_id,
      epoch: row.epoch,
      meta: { ...JSON.parse(row.meta) as object, ...JSON.parse(row.status_meta) as object },
      lastSeen: row.last_seen,
      createdAt: row.created_at,
    };
  }
}

function groupsOf({ label, tags, capabilities }: AgentCard): string[] {
  return [
    ...(label === undefined ? [] : [`label:${label}`]),
    ...tags.map((tag) => `tag:${tag}`),
    ...capabilities.map((cap) => `cap:${cap}`),
  ];
}

function fits(card: AgentCard, target: Target): boolean {
  switch (target.kind) {
    case "agent":
      return card.id === target.value;
    case "broadcast":
      return true;
    case "label":
      return card.label === target.value;
    case "tag":
      return card.tags.includes(target.value);
    case "cap":
      return card.capabilities.includes(target.value);
  }
}
