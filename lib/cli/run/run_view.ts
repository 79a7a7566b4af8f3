import { VERSION } from "../../base/version.ts";
import type { RunnerView } from "../../runner/core/view.ts";
import type { Runner } from "../../runner/runner.ts";
import type { RelayBusClient } from "agent-relay-sdk";
import type { Begun } from "./assemble.ts";
import { logFileOf } from "./log_file.ts";

/** A tmux pane: the server's socket and the pane's id. */
export interface TmuxPane {
  socket: string;
  pane: string;
}

/** What there is to see of a run: the runner's view, and what belongs to its process. */
export interface RunView extends RunnerView {
  /** Of the runner. */
  pid: number;
  /** Of the agent; null while none runs. */
  agentPid: number | null;
  version: string;
  cwd: string;
  approval: string;
  logFile: string;
  rssBytes: number;
  /** Where a person can reach the agent's terminal; null for one without a terminal, or in another one. */
  tmux: TmuxPane | null;
  /** Null for a run without a relay. */
  relay: { url: string; servedHere: boolean; badFrames: number } | null;
}

/** Returns what `runner status` shows of this run. */
export function viewOfRun(
  runner: Runner,
  { begun, bus }: { begun: Begun; bus: RelayBusClient | null },
): RunView {
  const { settings, deps, place, relay, approval } = begun;
  return {
    ...runner.view(),
    pid: Deno.pid,
    agentPid: runner.agentPid,
    version: VERSION,
    cwd: settings.cwd.value,
    approval,
    logFile: logFileOf(settings.paths.logsDir, place.agentId),
    rssBytes: Deno.memoryUsage().rss,
    tmux: settings.headless ? null : tmuxPane(deps.env),
    relay: relay === null ? null : {
      url: relay.url,
      servedHere: relay.host?.serving ?? false,
      badFrames: bus?.badFrames ?? 0,
    },
  };
}

/** tmux tells its panes where they are: `TMUX` is `socket,server pid,session`. */
function tmuxPane({ TMUX, TMUX_PANE }: Readonly<Record<string, string>>): TmuxPane | null {
  const socket = TMUX?.split(",").slice(0, -2).join(",") ?? "";
  return socket === "" || TMUX_PANE === undefined ? null : { socket, pane: TMUX_PANE };
}
