import type { FlagSpec, VerbSpec } from "./spec.ts";
import { findVerb, PROVIDERS, VERBS } from "./table.ts";
import { VERSION } from "../base/version.ts";

/** Verbs that share a line of the overview, so that it fits a screen. */
const TOGETHER: readonly { names: readonly string[]; summary: string }[] = [
  { names: PROVIDERS, summary: "Start Claude Code, Codex or a test agent and put it on the bus" },
  { names: ["stop", "restart"], summary: "Stop an agent after its turn; start it anew, conversation kept" },
  {
    names: ["doctor", "prune"],
    summary: "Look whether all is in order; remove what old agents have left here",
  },
  {
    names: ["help", "version", "completions"],
    summary: "Show help, also for one verb; the version; a shell's completion",
  },
];

/** The lines of the overview: verbs as they are typed, and what they do. */
function overviewRows(): { usage: string; summary: string }[] {
  const rows: { usage: string; summary: string }[] = [];
  for (const verb of VERBS.filter(({ hidden }) => !hidden)) {
    const shared = TOGETHER.find(({ names }) => names.includes(verb.name));
    if (shared === undefined) rows.push({ usage: usageOf(verb), summary: verb.summary });
    else if (shared.names[0] === verb.name) {
      rows.push({ usage: shared.names.join(", "), summary: shared.summary });
    }
  }
  return rows;
}

/** Returns the first screen: examples first, then the verbs. */
export function overview(): string {
  const rows = overviewRows();
  const width = Math.max(...rows.map(({ usage }) => usage.length));
  return [
    `runner ${VERSION}: puts a coding agent on a message bus and proves what it was told`,
    "",
    "  runner demo                                   see a message delivered, nothing to install",
    "  runner claude --label api                     Claude Code, reachable as label:api",
    "  runner codex --headless --label ci            Codex without a terminal",
    '  runner send label:api "Run the tests" --wait-reply',
    "",
    "Verbs:",
    ...rows.map(({ usage, summary }) => `  ${usage.padEnd(width)}  ${summary}`),
    "",
    '"runner help VERB" shows the options of a verb. Options for the agent itself go after --.',
    "",
  ].join("\n");
}

/** Returns the help of one verb. */
export function helpOf(spec: VerbSpec): string {
  const flags = spec.flags.filter((flag) => flag.hidden !== true);
  const left = flags.map(flagUsage);
  const width = Math.min(30, Math.max(...left.map((text) => text.length)));
  const pass = spec.passThrough ? " [-- provider args]" : "";
  return [
    `runner ${usageOf(spec)} [options]${pass}`,
    "",
    `${spec.summary}.`,
    "",
    ...(spec.examples.length > 0 ? [...spec.examples.map((each) => `  ${each}`), ""] : []),
    ...sections(flags).flatMap((
      { heading, rows },
    ) => [`${heading}:`, ...rows.map((row) => line(row, width))]),
    "",
  ].join("\n");
}

/** Flags under their headings, in the order in which a heading is first met. */
function sections(flags: readonly FlagSpec[]): { heading: string; rows: FlagSpec[] }[] {
  const grouped = Map.groupBy(flags, (flag) => flag.section ?? "Options");
  return [...grouped].map(([heading, rows]) => ({ heading, rows }));
}

function line(flag: FlagSpec, width: number): string {
  const preset = flag.default === undefined ? "" : ` (default ${flag.default})`;
  const choices = flag.kind === "choice" ? `: ${flag.choices.join(", ")}` : "";
  return `  ${flagUsage(flag).padEnd(width)}  ${flag.help}${choices}${preset}`;
}

function usageOf(verb: VerbSpec): string {
  const positionals = verb.positionals.map(({ name, required }) => required ? `<${name}>` : `[${name}]`);
  return [verb.name, ...positionals].join(" ");
}

function flagUsage(flag: FlagSpec): string {
  const short = (flag.aliases ?? []).filter((alias) => alias.length === 1).map((alias) => `-${alias}, `).join(
    "",
  );
  return `${short}--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
}

/** Returns the help text for a word, or undefined when it names nothing. */
export function helpFor(word: string | undefined): string | undefined {
  if (word === undefined) return overview();
  const spec = findVerb(word);
  return spec === undefined || spec.hidden ? undefined : helpOf(spec);
}
