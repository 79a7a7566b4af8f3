import { messageOf } from "../base/errors.ts";
import type { Io } from "./contract.ts";
import { helpOf } from "./help.ts";
import { leavesVerbOpen, parseCommandLine } from "./parse.ts";
import { describeError } from "./report_error.ts";

const PROVIDER_OF_NAME: Readonly<Record<string, string>> = {
  "claude-relay": "claude",
  "codex-relay": "codex",
};

/** The provider that a binary's name implies (`claude-relay`, also as `.exe` or with a path), or null. */
export function impliedProvider(names: readonly string[]): string | null {
  for (const name of names) {
    const base = name.split(/[\\/]/).at(-1)!.replace(/\.exe$/i, "").toLowerCase();
    const provider = PROVIDER_OF_NAME[base];
    if (provider !== undefined) return provider;
  }
  return null;
}

/**
 * Runs a command line and returns its exit code. Never rejects: every failure is printed in its one form.
 * `binaryNames` is asked only when the command line leaves open which verb is meant.
 */
export async function runCommandLine(
  args: readonly string[],
  io: Io,
  binaryNames: () => Promise<readonly string[]> = () => Promise.resolve([]),
): Promise<number> {
  try {
    const implied = leavesVerbOpen(args) ? impliedProvider(await binaryNames()) : null;
    const { spec, invocation } = parseCommandLine(args, implied);
    if (invocation.flags.help === true) {
      io.out(helpOf(spec));
      return 0;
    }
    const verb = await spec.load();
    return await verb(invocation, io);
  } catch (error) {
    const report = describeError(error);
    const end = args.indexOf("--");
    const json = (end < 0 ? args : args.slice(0, end)).includes("--json");
    io.err(json ? report.json : report.text);
    if (io.env.AGENT_RELAY_DEBUG === "1" && error instanceof Error) {
      io.err(`${error.stack ?? messageOf(error)}\n`);
    }
    return report.exit;
  }
}
