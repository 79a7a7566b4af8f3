import { resolve } from "@std/path";
import { jobFlags, relayFlags, runFlags } from "./flags.ts";
import { findVerb } from "./table.ts";

/**
 * Removes the result of an earlier run from where a command line that was not understood would have had its own: a job
 * that reads the file must not take the one for the other. What is no regular file stays. Never throws.
 */
export function removeOldResult(args: readonly string[], cwd: string): void {
  for (const file of resultFiles(args)) {
    try {
      const path = resolve(cwd, file);
      if (Deno.lstatSync(path).isFile) Deno.removeSync(path);
    } catch { /* none is there, or it cannot be removed: the error that is told is the one before */ }
  }
}

/** The values of `--result`, read as leniently as can be; none for a verb that has no such flag. */
function resultFiles(args: readonly string[]): string[] {
  const verb = findVerb(args[0] ?? "");
  if (verb !== undefined && !verb.flags.some((flag) => flag.name === "result")) return [];
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  const flags = [...runFlags, ...jobFlags, ...relayFlags];
  const found: string[] = [];
  for (let i = 0; i < own.length; i++) {
    const [, name, value] = /^--([^=]+)(?:=([\s\S]*))?$/.exec(own[i]!) ?? [];
    const flag = flags.find((each) => each.name === name);
    if (flag === undefined || flag.kind === "switch") continue;
    // The value of another flag is none of ours, whatever it looks like.
    const next = own[i + 1];
    const taken = value === undefined && next !== undefined &&
      (flag.kind === "free-text" || !next.startsWith("-"));
    if (taken) i++;
    const given = taken ? next : value;
    if (name === "result" && given !== undefined && given !== "") found.push(given);
  }
  return found;
}
