import { isRecord } from "../protocol/codec.ts";
import type { Registered } from "../protocol/frames.ts";
import type { ClaimGrant } from "../protocol/message.ts";
import type { LinkEnd } from "../transport/link.ts";
import type { CallFailure, CallResult, CloseReason } from "./contract.ts";

/** What the relay answered to a frame; null when it did not, or the link was lost first. */
export type Answer =
  | { ok: true; payload: Record<string, unknown> }
  | { ok: false; code: string; message: string }
  | null;

/** Returns an answer as a call's outcome; `read` returns undefined for a payload that makes no sense, which is nobody's success. */
export function outcome<T>(
  answer: Answer,
  read: (payload: Record<string, unknown>) => T | undefined,
): CallResult<T> {
  if (answer === null) return { ok: false, kind: "unavailable", message: "the relay did not answer" };
  if (answer.ok) {
    const value = read(isRecord(answer.payload) ? answer.payload : {});
    return value !== undefined
      ? { ok: true, value }
      : { ok: false, kind: "unknown", message: "the answer makes no sense" };
  }
  const failure: CallFailure = answer.code === "E_UNAUTHORIZED" || answer.code === "E_FORBIDDEN"
    ? { ok: false, kind: "auth", status: 403, message: answer.message }
    : answer.code === "E_INTERNAL" || answer.code === "E_STATE_WRITE"
    ? { ok: false, kind: "unavailable", message: answer.message }
    : { ok: false, kind: "rejected", status: 422, code: answer.code, message: answer.message };
  return failure;
}

/** Reads a grant: a lease without a length would be one that never ends, or never began. */
export function readGrant(payload: Record<string, unknown>): ClaimGrant | undefined {
  return typeof payload.leaseMs === "number" && payload.leaseMs > 0
    ? payload as unknown as ClaimGrant
    : undefined;
}

/** Reads the answer to a registration, null when it lacks what everything rests on: whose agent this is, in which store. */
export function readRegistered(payload: Record<string, unknown>): Registered | null {
  const { agentId, storeId } = payload;
  return typeof agentId === "string" && typeof storeId === "string" ? payload as unknown as Registered : null;
}

/** Says why a link ended that its owner did not end. */
export function reasonOf(end: LinkEnd): CloseReason {
  if (end.code === 4409) return { kind: "replaced" };
  return { kind: end.by === "handler" ? "protocol" : "network", message: end.reason };
}
