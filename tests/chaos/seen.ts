import { join } from "@std/path";
import { deliveryIdOf } from "../../lib/base/uuid.ts";
import type { AgentRecord } from "../support/oracle.ts";
import type { ChaosAgent } from "./agent.ts";
import type { StoredMessage } from "./relay_record.ts";

/** One time that a model was given a message. */
export interface Sight {
  /** Wall clock; null where the provider keeps no times (echo). */
  at: number | null;
  deliveryId: string;
  redelivery: number | null;
  acceptedAt: number | null;
  /** When its turn ended without error; null when it did not. */
  doneAt: number | null;
  /** Its turn failed or was cut off. */
  cut: boolean;
  pid: number;
}

/** An agent, as far as its records go. */
export type Witness = Pick<ChaosAgent, "id" | "provider" | "oracle" | "stateDir">;

/** What an agent's model saw, by mark, from the provider's own record. */
export function sightsOf(
  agent: Witness,
  storeId: string,
  messages: Iterable<StoredMessage>,
): Map<string, Sight[]> {
  return agent.provider === "echo" ? echoSights(agent, storeId, messages) : oracleSights(agent.oracle());
}

function oracleSights(records: AgentRecord[]): Map<string, Sight[]> {
  const sights = new Map<string, Sight[]>();
  const accepted = new Map<string, number>();
  const open = new Map<string, Sight[]>();
  for (const record of records) {
    if (record.type === "accepted") accepted.set(record.deliveryId, record.at);
    else if (record.type === "seen") {
      for (const mark of record.marks) {
        const sight: Sight = {
          at: record.at,
          deliveryId: record.deliveryId,
          redelivery: record.redelivery,
          acceptedAt: accepted.get(record.deliveryId) ?? null,
          doneAt: null,
          cut: false,
          pid: record.pid,
        };
        sights.set(mark, [...sights.get(mark) ?? [], sight]);
        open.set(record.deliveryId, [...open.get(record.deliveryId) ?? [], sight]);
      }
    } else if (record.type === "ended") {
      for (const sight of open.get(record.deliveryId) ?? []) {
        if (sight.pid !== record.pid) continue;
        if (record.how === "done") sight.doneAt = record.at;
        else sight.cut = true;
      }
    }
  }
  return sights;
}

/** The echo agent notes delivery ids only; which message each was is computed from the message's identity. */
function echoSights(
  agent: Witness,
  storeId: string,
  messages: Iterable<StoredMessage>,
): Map<string, Sight[]> {
  let lines: string[];
  try {
    lines = Deno.readTextFileSync(join(agent.stateDir, "echo.log")).split("\n");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    lines = [];
  }
  const markOf = new Map<string, string>();
  for (const { id, mark } of messages) {
    for (let attempt = 1; attempt <= 12; attempt++) {
      markOf.set(deliveryIdOf(storeId, agent.id, id, attempt), mark);
    }
  }
  const sights = new Map<string, Sight[]>();
  for (const deliveryId of lines) {
    const mark = markOf.get(deliveryId);
    if (mark === undefined) continue;
    const sight = { at: null, deliveryId, redelivery: null, acceptedAt: null, doneAt: 0, cut: false, pid: 0 };
    sights.set(mark, [...sights.get(mark) ?? [], sight]);
  }
  return sights;
}
