import { showBytes } from "../../base/bytes.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import { resolvePaths } from "../../config/paths.ts";
import type { Io, Verb } from "../contract.ts";
import { durationFlag } from "../flag_values.ts";
import { DAY } from "../flags.ts";
import type { Failure, Outcome } from "../prune/contract.ts";
import { pruneHome } from "../prune/prune.ts";
import { styleFor } from "../style.ts";
import { columns } from "../table_text.ts";

const OLDER_THAN_MS = 30 * DAY;
const CLEAR_LINE = "\r\x1b[K";

/** Removes what no agent of this home needs any more, and says what that was, and why the rest stays. */
export const run: Verb = ({ flags }, io) => {
  const dryRun = flags["dry-run"] === true;
  const json = flags.json === true;
  const olderThanMs = durationFlag(flags["older-than"], OLDER_THAN_MS);
  const progress = io.errIsTerminal && !json;
  const outcome = pruneHome({
    paths: resolvePaths(io.env),
    rules: { now: Date.now(), olderThanMs },
    dryRun,
    pid: Deno.pid,
    progress(agentId, number, of) {
      if (progress) io.err(`${CLEAR_LINE}looking at ${shown(agentId)} (${number} of ${of})`);
    },
  });
  if (progress) io.err(CLEAR_LINE);
  const { removed, kept, failed } = outcome;
  const bytes = removed.reduce((sum, each) => sum + each.bytes, 0);
  if (json) io.out(JSON.stringify({ removed, kept, bytes, dryRun }) + "\n");
  else show(outcome, { bytes, dryRun }, io);
  const [first] = failed;
  if (first !== undefined) throw notRemoved(first, failed.length);
  return Promise.resolve(0);
};

function show(
  { removed, kept, failed }: Outcome,
  { bytes, dryRun }: { bytes: number; dryRun: boolean },
  io: Io,
): void {
  const style = styleFor(io.color);
  if (removed.length > 0) {
    io.out(
      columns([
        [dryRun ? "WOULD REMOVE" : "REMOVED", "AGENT", "SIZE", "PATH"].map(style.dim),
        ...removed.map(({ kind, agentId, path, bytes }) => [
          kind,
          shown(agentId ?? ""),
          showBytes(bytes),
          shown(path, 300),
        ]),
      ]) + "\n",
    );
  }
  if (kept.length > 0) {
    io.out(
      columns([
        ["KEPT", "WHY"].map(style.dim),
        ...kept.map(({ agentId, reason }) => [shown(agentId), reason]),
      ]) + "\n",
    );
  }
  for (const { path, problem } of failed.slice(1)) {
    io.err(`runner: warning: cannot remove ${shown(path, 300)}: ${shown(problem, 200)}\n`);
  }
  const things = removed.length === 1 ? "1 thing" : `${removed.length} things`;
  io.out(
    removed.length === 0
      ? "nothing to remove\n"
      : dryRun
      ? `would remove ${things}, ${showBytes(bytes)}\n`
      : `removed ${things}, ${showBytes(bytes)}\n`,
  );
}

function notRemoved({ path, problem }: Failure, count: number): RunnerError {
  const more = count === 1 ? "" : `, and ${count - 1} more`;
  return new RunnerError(
    "E_STATE_WRITE",
    `Cannot remove ${shown(path, 300)}: ${shown(problem, 200)}${more}`,
    { hint: "mend that and prune again; the rest was done", details: { failed: count } },
  );
}
