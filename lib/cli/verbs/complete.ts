import { splitBashLine } from "../completions/bash_line.ts";
import { type Candidate, wantedAt } from "../completions/candidates.ts";
import type { Io, Verb } from "../contract.ts";

/** Words that no shell does anything about, whoever chose them. */
const PLAIN = /^[A-Za-z0-9._:@/=+-]+$/;
/** Printable, and one line; it is only shown. */
const PRINTABLE = /^[ -~]{0,200}$/;

/**
 * Prints the words that may stand at the cursor, one a line, `value<TAB>description`; `:files` and `:directories` tell
 * the script that names of those belong there. Says nothing and ends with 0 when anything fails: a person who types
 * must not be disturbed.
 *
 * bash hands over its line up to the cursor and the part of it that a candidate replaces; the others their words up to
 * the cursor, the program's first.
 */
export const run: Verb = async ({ positionals: [shell], providerArgs }, io) => {
  try {
    io.out((await (shell === "bash" ? inBash(providerArgs, io) : answer(providerArgs, io))).join(""));
  } catch { /* nothing is offered */ }
  return 0;
};

/** bash offers what it is given, so only what goes on with the word is; what it does not replace is cut off. */
async function inBash([line = "", replaced = ""]: readonly string[], io: Io): Promise<string[]> {
  const { words, redirected } = splitBashLine(line);
  if (redirected) return [":files\n"];
  const current = words.at(-1)!;
  // A word is replaced from its last colon or equals sign on, unless it is in quotes.
  const kept = current.endsWith(replaced) ? current.slice(0, current.length - replaced.length) : "";
  return (await answer(words, io)).filter((each) => each.startsWith(":") || each.startsWith(current))
    .map((each) => each.startsWith(":") ? each : each.slice(kept.length));
}

async function answer(words: readonly string[], io: Io): Promise<string[]> {
  const wanted = wantedAt(words);
  switch (wanted.kind) {
    case "files":
    case "directories":
      return [`:${wanted.kind}\n`];
    case "words":
      return wanted.words.flatMap(line);
    case "names": {
      const { namesFromRelay } = await import("../completions/names.ts");
      const names = await namesFromRelay(wanted.names, wanted.flags, io);
      return names.map(({ value, description }) => ({ value: wanted.prefix + value, description }))
        .flatMap(line);
    }
  }
}

function line({ value, description }: Candidate): string[] {
  if (!PLAIN.test(value)) return [];
  return [description === "" || !PRINTABLE.test(description) ? `${value}\n` : `${value}\t${description}\n`];
}
