import { RunnerError, shown } from "../../base/errors.ts";
import { nearMisses } from "../../base/suggest.ts";
import { bashScript } from "../completions/bash.ts";
import { fishScript } from "../completions/fish.ts";
import { zshScript } from "../completions/zsh.ts";
import type { Verb } from "../contract.ts";
import { PROVIDER_OF_NAME } from "../parse.ts";
import { SHELLS } from "../table.ts";

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], (names: readonly string[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** Prints the script that makes a shell complete the words of this program. */
export const run: Verb = ({ positionals: [given] }, io) => {
  const shell = SHELLS.find((each) => each === given);
  if (shell === undefined) {
    const [near] = nearMisses(given!, SHELLS, 1);
    throw new RunnerError("E_USAGE", `there is no completion for "${shown(given!)}"`, {
      hint: near === undefined ? `shells are ${SHELLS.join(", ")}` : `did you mean ${near}?`,
    });
  }
  io.out(SCRIPTS[shell](["runner", ...PROVIDER_OF_NAME.keys()]));
  return Promise.resolve(0);
};
