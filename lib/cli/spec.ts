import type { ErrorCode } from "../base/errors.ts";
import type { Verb } from "./contract.ts";

/** What a flag takes, as a union: a switch takes nothing, every other kind takes one value. */
export type FlagKind =
  /** Present or absent. */
  | { kind: "switch" }
  /** A word; a value that starts with `-` is refused unless written `--flag=-x`. */
  | { kind: "text" }
  /** Text for a model or a person: any value, also one that starts with `-`. */
  | { kind: "free-text" }
  /** A path; the hint for a value that starts with `-` says `./`. */
  | { kind: "file"; only?: "directories" }
  /** A time like `20s`, inside the bounds (milliseconds). */
  | { kind: "duration"; minMs: number; maxMs: number }
  /** An amount like `2.50` inside the bounds. */
  | { kind: "amount"; min: number; max: number }
  /** A whole number inside the bounds. */
  | { kind: "integer"; min: number; max: number }
  /** One word of a list; `code` is the error for any other word. */
  | { kind: "choice"; choices: readonly string[]; code: ErrorCode };

/** What a word is chosen from, where that can be said beforehand. Shells complete it by this. */
export type Takes =
  /** One of these words. */
  | readonly string[]
  /** A verb of the table. */
  | "verb"
  /** An agent of the bus by its id or `label:X`; `running` leaves out those that are offline. */
  | "agent"
  | "running"
  /** Whatever a message can be sent to. */
  | "target"
  /** What agents are called, without the word before the colon. */
  | "label"
  | "tag"
  | "cap";

/** One flag of a verb. */
export type FlagSpec = FlagKind & {
  /** Canonical name without dashes. */
  name: string;
  /** Other spellings; single letters are written with one dash. */
  aliases?: readonly string[];
  /** What stands for the value in the help, for example `DIR`. */
  value?: string;
  /** What the value is chosen from; a choice says it by its kind. */
  takes?: Takes;
  /** Shown in the help; verbs apply it themselves. */
  default?: string;
  help: string;
  /** Left out of the help. */
  hidden?: true;
  /** Heading it stands under in the help; `Options` when left out. */
  section?: string;
};

/** Something that stands beside the flags. */
export interface PositionalSpec {
  name: string;
  required: boolean;
  takes?: Takes;
}

/** A verb as the person types it. */
export interface VerbSpec {
  name: string;
  /** The verb of the {@linkcode Invocation}; the spec's `name` becomes its first positional when they differ. */
  canonical: string;
  summary: string;
  positionals: readonly PositionalSpec[];
  flags: readonly FlagSpec[];
  examples: readonly string[];
  /** True when what stands after `--` belongs to the provider. */
  passThrough: boolean;
  hidden: boolean;
  /** Loads the implementation; nothing of it is in memory before. */
  load: () => Promise<Verb>;
}
