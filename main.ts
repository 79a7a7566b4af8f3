import process from "node:process";
import { runCommandLine } from "./lib/cli/main.ts";
import { processIo } from "./lib/cli/process_io.ts";

// A link named claude-relay is seen in argv0 only: the path of the executable is the link's target.
const names = Deno.build.standalone ? [process.argv0, Deno.execPath()] : [];
Deno.exit(await runCommandLine(Deno.args, processIo(), names));
