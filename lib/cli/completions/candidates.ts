import { findFlag, impliedProvider, meantVerb, OPTION_VERBS } from "../parse.ts";
import type { FlagSpec, Takes, VerbSpec } from "../spec.ts";
import { findVerb, VERBS } from "../table.ts";

/** A word that may stand at the cursor. */
export interface Candidate {
  value: string;
  /** Empty when there is nothing to say. */
  description: string;
}

/** What agents are called, of which only the relay knows. */
export type Names = Exclude<Takes, readonly string[] | "verb">;

/** What may stand at the cursor. */
export type Wanted =
  | { kind: "words"; words: Candidate[] }
  /** Names of files, which the shell knows. */
  | { kind: "files" | "directories" }
  /** Names of agents, each after `prefix`; `flags` are the ones given so far. */
  | { kind: "names"; names: Names; prefix: string; flags: Readonly<Record<string, string | true>> };

const NOTHING: Wanted = { kind: "words", words: [] };

/**
 * Returns what may stand at the cursor. The first word is the program, whose name may imply a provider; the last is
 * the one at the cursor, up to it. Made from the table that parses, so that nothing is offered which is refused.
 */
export function wantedAt(words: readonly string[]): Wanted {
  const current = words.at(-1) ?? "";
  const before = words.slice(1, -1);
  if (before.length === 0 && !current.startsWith("-")) return { kind: "words", words: verbs() };
  const meant = meantVerb(before, impliedProvider(words.slice(0, 1)));
  const wanted = meant === null || meant.spec.hidden ? NOTHING : atVerb(meant.spec, meant.rest, current);
  if (before.length > 0 || current.includes("=") || wanted.kind !== "words") return wanted;
  const options = optionVerbs();
  const more = wanted.words.filter(({ value }) => options.every((option) => option.value !== value));
  return { kind: "words", words: [...options, ...more] };
}

function verbs(): Candidate[] {
  return VERBS.filter(({ hidden }) => !hidden).map(({ name, summary }) => ({
    value: name,
    description: summary,
  }));
}

function optionVerbs(): Candidate[] {
  return [...OPTION_VERBS].filter(([option]) => option.startsWith("--")).map(([option, verb]) => ({
    value: option,
    description: findVerb(verb)!.summary,
  }));
}

function atVerb(spec: VerbSpec, before: readonly string[], current: string): Wanted {
  const typed = readTyped(spec, before);
  if (typed.over) return NOTHING;
  const { given, positionals, open } = typed;
  if (open !== null) return valuesOf(open, "", given);
  const [assigned, name] = /^(--?[^=]*)=/.exec(current) ?? [];
  if (assigned !== undefined) {
    const flag = findFlag(spec, name!);
    return flag === undefined || given[flag.name] !== undefined ? NOTHING : valuesOf(flag, assigned, given);
  }
  const place = spec.positionals[positionals];
  if (current.startsWith("-") || (place === undefined && current === "")) {
    const left = spec.flags.filter((flag) => flag.hidden !== true && given[flag.name] === undefined);
    return {
      kind: "words",
      words: left.map(({ name, help }) => ({ value: `--${name}`, description: help })),
    };
  }
  return place?.takes === undefined ? NOTHING : chosenFrom(place.takes, "", given);
}

/** What stands before the cursor. */
interface Typed {
  given: Record<string, string | true>;
  /** How many words stand beside the flags. */
  positionals: number;
  /** The flag whose value the word at the cursor is. */
  open: FlagSpec | null;
  /** `--` was typed: what follows is for the agent, or free. */
  over: boolean;
}

/** Reads what is typed as the parser does, but lets mistakes pass: they are told when the line is run. */
function readTyped(spec: VerbSpec, words: readonly string[]): Typed {
  const typed: Typed = { given: {}, positionals: 0, open: null, over: false };
  for (const word of words) {
    if (typed.open !== null) {
      typed.given[typed.open.name] = word;
      typed.open = null;
    } else if (word === "--") return { ...typed, over: true };
    else if (word === "-" || !word.startsWith("-")) typed.positionals++;
    else {
      const [, name, value] = /^(--?[^=]*)(?:=([\s\S]*))?$/.exec(word)!;
      const flag = findFlag(spec, name!);
      if (flag === undefined) continue;
      if (value === undefined && flag.kind !== "switch") typed.open = flag;
      else typed.given[flag.name] = value ?? true;
    }
  }
  return typed;
}

function valuesOf(flag: FlagSpec, prefix: string, given: Typed["given"]): Wanted {
  if (flag.kind === "choice") return chosenFrom(flag.choices, prefix, given);
  if (flag.kind === "file") return { kind: flag.only ?? "files" };
  return flag.takes === undefined ? NOTHING : chosenFrom(flag.takes, prefix, given);
}

function chosenFrom(takes: Takes, prefix: string, given: Typed["given"]): Wanted {
  if (takes === "verb") return { kind: "words", words: verbs() };
  if (typeof takes === "string") return { kind: "names", names: takes, prefix, flags: given };
  return { kind: "words", words: takes.map((word) => ({ value: prefix + word, description: "" })) };
}
