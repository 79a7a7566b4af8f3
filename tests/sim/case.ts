import type { Message } from "../../lib/protocol/message.ts";
import type { FailureClass } from "../../lib/providers/contract.ts";
import type { Posting } from "./plan.ts";

/** How a turn of the model ended. `cut`: its process died. */
export interface TurnEnd {
  how: "done" | "failed" | "cut";
  failure: FailureClass | null;
  reason: string;
  at: number;
}

/** One turn of the model that held a message, as the provider knows it. */
export interface Turn {
  readonly deliveryId: string;
  readonly incarnation: number;
  readonly placedAt: number;
  seenAt: number | null;
  end: TurnEnd | null;
}

/**
 * What really happened to one message, told by the far ends alone. The invariants are checked against it, never
 * against what the runner believes.
 */
export interface Case {
  readonly key: string;
  readonly message: Message;
  posting: Posting;
  /** Times its bytes may have reached a provider. */
  handed: number;
  /** Turns of the model with it, in order. */
  readonly turns: Turn[];
  /** Order in which the present runner got to know of it, 0 when it has not. */
  offered: number;
  /** The runner wrote it to its journal at least once. */
  journaled: boolean;
  /** Journal rows of it that were damaged: its history is unknown from then on. */
  damaged: number;
  /** Deaths of runner or provider while it was with the provider. */
  deathsInFlight: number;
  /** Times the provider's record could not be read for it. */
  unreadable: number;
  /** Last end of the message as the journal has it. */
  ended: "none" | "done" | "failed" | "skipped" | "dead";
  rivalDoneAt: number | null;
  /** The machine slept while a turn with it ran. */
  slept: boolean;
  /** Runner and guard were both gone while an agent had it: nothing on the machine could stop that agent. */
  unguarded: boolean;
  /** When the lease that the relay last gave us ends, 0 when it never did. */
  leaseUntil: number;
  /** The process that it was handed to last. */
  handedTo: number;
  /** Our lease stood when the model had done it. */
  leasedWhenDone: boolean;
  repliesStored: number;
  /** A person opened it again after it was given up: it has a second life. */
  reopened: number;
  dropped: boolean;
}

/** Returns the record of a message that was just posted. */
export function caseOf(key: string, message: Message, posting: Posting): Case {
  return {
    key,
    message,
    posting,
    handed: 0,
    turns: [],
    offered: 0,
    journaled: false,
    damaged: 0,
    deathsInFlight: 0,
    unreadable: 0,
    ended: "none",
    rivalDoneAt: null,
    slept: false,
    unguarded: false,
    leaseUntil: 0,
    handedTo: 0,
    leasedWhenDone: false,
    repliesStored: 0,
    reopened: 0,
    dropped: false,
  };
}

export function wasSeen(each: Case): boolean {
  return each.turns.some((turn) => turn.seenAt !== null);
}

export function wasDone(each: Case): boolean {
  return each.turns.some((turn) => turn.end?.how === "done");
}

/** True while an agent may be at work on it: a turn runs, or it was handed over and its end is not known. */
export function mayBeUnderWay(each: Case): boolean {
  return isRunning(each) || (each.handed > 0 && each.ended === "none");
}

/** True while a turn with the message may still run. */
export function isRunning(each: Case): boolean {
  return each.turns.some((turn) => turn.end === null);
}
