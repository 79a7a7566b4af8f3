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
    const end = args.indexOf("--");
    const own = end < 0 ? args : args.slice(0, end);
    if (!understood) await removeStaleResult(own, io.cwd);
    const json = own.includes("--json");
    io.err(json ? report.json : report.text);
    if (io.env.AGENT_RELAY_DEBUG === "1" && error instanceof Error) {
      io.err(`${error.stack ?? messageOf(error)}\n`);
    }
    return report.exit;
  }
}

/**
 * Removes the result file that a command line names which was not understood: an earlier run's success must not pass for
 * this one's. Only what a run would have replaced, a regular file, and without a word: the error that is told is another.
 */
async function removeStaleResult(args: readonly string[], cwd: string): Promise<void> {
  const at = args.findIndex((arg) => arg === "--result" || arg.startsWith("--result="));
  const given = args[at]?.includes("=") ? args[at]!.slice("--result=".length) : args[at + 1];
  if (at < 0 || given === undefined || given === "" || given.startsWith("-")) return;
  // Loaded here: every start would pay for it.
  const { resolve } = await import("@std/path");
  const path = resolve(cwd, given);
  try {
    if (Deno.lstatSync(path).isFile) Deno.removeSync(path);
  } catch { /* there is none, or it is not ours to remove */ }
}
