import { RunnerError, shown } from "../../base/errors.ts";
import { nearMisses } from "../../base/suggest.ts";
import type { Verb } from "../contract.ts";
import { helpFor } from "../help.ts";
import { VERBS } from "../table.ts";

/** Prints the overview, or the help of one verb. */
export const run: Verb = ({ positionals }, io) => {
  const [word] = positionals;
  const text = helpFor(word);
  if (text === undefined) {
    const names = VERBS.filter((verb) => !verb.hidden).map((verb) => verb.name);
    const [near] = nearMisses(word!, names, 1);
    throw new RunnerError("E_USAGE", `no help for "${shown(word!)}"`, {
      hint: near === undefined ? `verbs are ${names.join(", ")}` : `did you mean ${near}?`,
    });
  }
  io.out(text);
  return Promise.resolve(0);
};
