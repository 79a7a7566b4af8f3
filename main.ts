import { runCommandLine } from "./lib/cli/main.ts";
import { processIo } from "./lib/cli/process_io.ts";

/** A link named claude-relay is seen in argv0 only: the path of the executable is the link's target. */
async function binaryNames(): Promise<string[]> {
  if (!Deno.build.standalone) return [];
  // Half as long again as everything else of a start (13 of 28 ms), so it is loaded when it can matter only.
  const { argv0 } = await import("node:process");
  return [argv0, Deno.execPath()];
}

Deno.exit(await runCommandLine(Deno.args, processIo(), binaryNames));
