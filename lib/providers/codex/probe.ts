import type { Clock } from "../../base/clock.ts";
import type { ProbeResult } from "../contract.ts";
import { listQueue, listTurns, unqueue } from "./calls.ts";
import type { Conversations } from "./conversations.ts";
import type { RpcLink } from "./rpc.ts";
import { type CodexThread, probeTurns, refusalReason } from "./thread.ts";

/** What a probe looks at beside the server. */
export interface ProbeContext {
  conversations: Conversations;
  /** Threads of earlier runs that messages went to. */
  remembered: readonly string[];
  /** Deliveries that were found waiting in an idle thread before. */
  stuck: Set<string>;
  startQueue(thread: CodexThread): Promise<void>;
}

/**
 * Says what became of deliveries: in the queue, in a turn, or nowhere. The queue is read before the turns, since a
 * message moves from there to here and would be missed between the two in the other order.
 *
 * A message that waits in a thread nobody looks at any more, or for a second time in one that is idle, would wait for
 * ever: it is taken out of the queue, so that it can be delivered anew and never runs twice. Rejects when the server
 * cannot be asked.
 */
export async function probeThreads(
  rpc: RpcLink,
  clock: Clock,
  deliveryIds: readonly string[],
  { conversations, remembered, stuck, startQueue }: ProbeContext,
): Promise<Map<string, ProbeResult>> {
  const results = new Map<string, ProbeResult>();
  const followed = conversations.all;
  const threadIds = new Set([...followed.map((thread) => thread.id), ...remembered]);
  for (const threadId of threadIds) {
    const thread = followed.find((each) => each.id === threadId);
    const queue = await listQueue(rpc, threadId);
    const turns = await listTurns(rpc, clock, threadId);
    for (const deliveryId of deliveryIds) {
      if (results.has(deliveryId)) continue;
      const entry = queue.find((each) => each.clientUserMessageId === deliveryId);
      const inTurns = probeTurns(turns, deliveryId);
      if (inTurns !== null) {
        results.set(deliveryId, inTurns);
        continue;
      }
      if (entry === undefined) continue;
      const forlorn = thread === undefined || (thread.activity === "idle" && stuck.has(deliveryId));
      if (forlorn && await unqueue(rpc, threadId, entry)) continue;
      if (thread?.activity === "idle") stuck.add(deliveryId);
      results.set(deliveryId, { state: "placed", evidence: "entry of thread/queue/list" });
    }
    // After an interrupt the queue stands still until it is told to go on (measured).
    if (queue.length > 0 && thread?.activity === "idle") await startQueue(thread);
  }
  for (const deliveryId of deliveryIds) {
    const result = results.get(deliveryId);
    const holder = conversations.holderOf(deliveryId);
    if (result === undefined) results.set(deliveryId, nowhere(holder?.refusalOf(deliveryId) ?? null));
    if (result?.state !== "placed") holder?.forget(deliveryId);
  }
  return results;
}

/** What became of a delivery that is in no queue and in no turn. */
function nowhere(refusal: string | null): ProbeResult {
  return refusal === null
    ? { state: "absent" }
    : { state: "failed", failure: "message", reason: refusalReason(refusal) };
}
