import type { FailureClass } from "../providers/contract.ts";
import type { Message } from "../protocol/message.ts";

/**
 * Where a message is in its life at this agent. One state per message; what it carries is what is known.
 * Leases are not here: they are measured on the monotonic clock and do not survive a restart.
 */
export type MessageState =
  | { state: "received" }
  | { state: "claimed" }
  | { state: "delivering"; deliveryId: string; incarnation: number }
  | { state: "placed"; deliveryId: string; incarnation: number; evidence: string }
  | { state: "seen"; deliveryId: string; incarnation: number; evidence: string }
  /** Ended well: the turn completed without error. */
  | { state: "done"; deliveryId: string; evidence: string }
  /** Ended after `seen`: the model had it, its turn failed. Never delivered again. */
  | { state: "failed"; deliveryId: string; reason: string }
  /** Ended: another agent has the claim, or the relay withdrew it. */
  | { state: "skipped"; reason: string }
  /** Waits for `notBefore` (wall clock) and then a new attempt. */
  | { state: "retry"; failure: FailureClass; reason: string; notBefore: number }
  /** Waits until a person mended the provider; then a new attempt. */
  | { state: "held"; reason: string }
  /** Parked for a person. */
  | { state: "dead"; reason: string }
  /**
   * Ended: a person dropped the dead letter. With `by: "absence"` that is concluded from the relay's list, which does not
   * have it; it is dead again when the relay offers it.
   */
  | { state: "dropped"; reason: string; by?: "absence" };

/** One row of the journal. */
export interface JournalRow {
  /** `<storeId>/<message id>`. */
  key: string;
  storeId: string;
  messageId: number;
  /** Attempt number of the current or next delivery, from 1. Rises only after a proven failed turn. */
  attempt: number;
  /** The relay's count of re-opened dead letters that this row belongs to; part of the delivery id. */
  generation: number;
  /** Deliveries of the message so far beyond the first, shown to the model in the frame. */
  redelivery: number;
  /** Its work was taken away while a provider had it: what became of that attempt is asked before it is delivered. */
  handed?: boolean;
  /** Failed turns so far that count towards the limit of 5 (a fault of the provider does not). */
  failures: number;
  state: MessageState;
  /** The relay answered markRead with 2xx; direct mail gets there at `seen`, claimable work at `done`. */
  acked: boolean;
  /** Answer that still has to reach the sender, null when there is none or it was sent. */
  reply: string | null;
  /** What the runner needs of it (see `envelopeOf`); null when the message has ended. */
  message: Message | null;
  /** The text is not in memory: `message.body` is empty and is fetched from the relay before the delivery. */
  shed: boolean;
  /** Wall-clock milliseconds, for display and retention only. */
  receivedAt: number;
  updatedAt: number;
}

/** A lifecycle command that was seen, so that it runs at most once per id. */
export interface CommandRow {
  commandId: string;
  type: string;
  /** `started` is written before the effect, `ended` after it, `told` when the relay has the answer. */
  phase: "started" | "ended" | "told";
  at: number;
}

/** What one commit writes. Everything or nothing. */
export interface JournalWrite {
  rows: JournalRow[];
  commands: CommandRow[];
  /** Conversation id to resume, when it changed. */
  resume?: string | null;
  /** Number of the provider process that is being started. */
  incarnation?: number;
}

/** What a start finds. */
export interface JournalSnapshot {
  /** Every row that is not finished (see `finished` in lib/inbox/core/row.ts), in message order. */
  open: JournalRow[];
  /** Keys of ended rows still remembered for dedup (at least 10,000 or 7 days). */
  known: string[];
  /** Rows in state `dead`, oldest first, without their messages: they wait for a person. */
  dead: JournalRow[];
  /** The newest rows in state `skipped` or `dropped`, at most 1,000, oldest first: they may come again. */
  left: JournalRow[];
  commands: CommandRow[];
  resume: string | null;
  /** Highest incarnation written before; the next one is above it. */
  incarnation: number;
  /** What was found wrong and put aside, for one warning. */
  quarantined: string[];
}

/** The durable memory of one agent. All methods are synchronous: a returned write is on disk. */
export interface Journal {
  load(): JournalSnapshot;
  /**
   * Commits in one transaction (WAL, synchronous=FULL). Throws `E_STATE_WRITE`; then nothing of it was written. Throws
   * `E_STATE` when the file was found damaged: a new one is begun with what could be read, and all that is open is to be
   * written again.
   */
  write(write: JournalWrite): void;
  /** Looks one message up, ended or not. */
  find(key: string): JournalRow | null;
  /** Removes ended rows past the dedup window. Bounded work per call; true when more may be left. */
  prune(now: number): boolean;
  close(): void;
}
