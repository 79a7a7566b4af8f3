import { messageOf } from "../base/errors.ts";
import type { Io } from "./contract.ts";
import { helpOf } from "./help.ts";
import { impliedProvider, leavesVerbOpen, parseCommandLine } from "./parse.ts";
import { describeError } from "./report_error.ts";

/**
 * Runs a command line and returns its exit code. Never rejects: every failure is printed in its one form.
 * `binaryNames` is asked only when the command line leaves open which verb is meant.
 */
export async function runCommandLine(
  args: readonly string[],
  io: Io,
  binaryNames: () => Promise<readonly string[]> = () => Promise.resolve([]),
): Promise<number> {
  let understood = false;
  try {
    const implied = leavesVerbOpen(args) ? impliedProvider(await binaryNames()) : null;
    const { spec, invocation } = parseCommandLine(args, implied);
    understood = true;
    if (invocation.flags.help === true) {
      io.out(helpOf(spec));
      return 0;
    }
    const verb = await spec.load();
    return await verb(invocation, io);
  } catch (error) {
    const report = describeError(error);
    // Loaded here: every start would pay for it.
    if (!understood) (await import("./old_result.ts")).removeOldResult(args, io.cwd);
    const end = args.indexOf("--");
    const json = (end < 0 ? args : args.slice(0, end)).includes("--json");
    io.err(json ? report.json : report.text);
    if (io.env.AGENT_RELAY_DEBUG === "1" && error instanceof Error) {
      io.err(`${error.stack ?? messageOf(error)}\n`);
    }
    return report.exit;
  }
}
