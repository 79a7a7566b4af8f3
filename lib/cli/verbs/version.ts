import { VERSION } from "../../base/version.ts";
import type { Verb } from "../contract.ts";

/** Prints the version of this program and of the runtime under it. */
export const run: Verb = ({ flags }, io) => {
  const { os, arch } = Deno.build;
  const facts = { version: VERSION, deno: Deno.version.deno, v8: Deno.version.v8, os, arch };
  io.out(
    flags.json === true
      ? JSON.stringify(facts) + "\n"
      : `runner ${VERSION} (deno ${facts.deno}, ${os} ${arch})\n`,
  );
  return Promise.resolve(0);
};
