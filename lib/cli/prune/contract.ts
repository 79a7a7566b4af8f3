import type { JournalLook } from "../../inbox/look.ts";

/** What is removed, by what it was for. */
export type Kind =
  /** The state directory of an agent, with all that it remembers. */
  | "agent"
  | "log"
  /** A damaged journal that was put aside. */
  | "quarantine"
  /** The plugin for Claude Code as another version unpacked it. */
  | "plugin"
  /** The temporary file or directory of a write that was interrupted. */
  | "temporary"
  /** What an earlier prune had moved aside when it was interrupted. */
  | "leftover";

/** Something that was removed, or would be. */
export interface Removed {
  kind: Kind;
  path: string;
  agentId?: string;
  bytes: number;
}

/** An agent that stays, with the reason. */
export interface Kept {
  agentId: string;
  reason: string;
}

/** What could not be removed. */
export interface Failure {
  path: string;
  problem: string;
}

/** What came of it all. */
export interface Outcome {
  removed: Removed[];
  kept: Kept[];
  failed: Failure[];
}

/** What counts as old. */
export interface Rules {
  /** Wall clock, milliseconds since 1970. */
  now: number;
  olderThanMs: number;
}

/** Something in an agent's directory that may go although the agent stays. */
export interface Remnant {
  kind: "quarantine" | "plugin" | "temporary";
  path: string;
  /** When it came to be, or was last written. */
  at: number;
}

/** What is known of an agent by its directory. */
export type AgentFacts =
  /** It is no directory of an agent, though it stands where those are. */
  | { place: "none"; problem: string }
  | { place: "taken"; ending: boolean; remnants: Remnant[] }
  | {
    place: "held";
    /** When it last ran. */
    lastRun: number;
    /** A run is noted that was killed. */
    killed: boolean;
    /** Names that no runner gives. */
    unknown: string[];
    /** Null when nobody had to look into it. */
    journal: JournalLook | null;
    remnants: Remnant[];
  };

/** What is known of a log. */
export interface LogFacts {
  /** Its agent is `removed` just now, `stays`, or has been `gone` before. */
  owner: "removed" | "stays" | "gone";
  rotated: boolean;
  at: number;
}
