import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Redactor } from "../../base/redact.ts";
import type { RunSettings } from "../../config/contract.ts";
import type { WatchDoor } from "../../control/watch.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { ExitOutcome } from "../../runner/core/types.ts";
import type { RunnerView } from "../../runner/core/view.ts";
import { loadAdapter } from "./adapters.ts";
import { takePlace } from "./agent_place.ts";
import type { RunFollower } from "./follower.ts";
import { providerCommand, providerSetup } from "./launcher.ts";
import { relayAddress } from "./relay_address.ts";
import { Undo } from "./undo.ts";

/** What a run needs beside its settings. */
export interface SessionDeps {
  clock: Clock;
  random(): number;
  log: Log;
  redactor: Redactor;
  /** The parent's environment, from which the agent's is made. */
  env: Readonly<Record<string, string>>;
  /** Whoever follows the run: its output, stages and end. */
  follow: RunFollower;
  /** Lets other processes watch it. */
  watch: WatchDoor;
  remoteLifecycle: boolean;
  /** The person's terminal, which the guard puts in order when nobody else can; null without one. */
  terminal: { path: string; modes: string } | null;
  /** The agent has its place under this id: only now is it known which slot it got. */
  placed(agentId: string): void;
  /** The agent's process ended, perhaps to be started again. */
  agentEnded?(status: ExitStatus): void;
}

/** A run under way. */
export interface Session {
  readonly agentId: string;
  readonly runnerId: string;
  /** Null for a run without a relay. */
  readonly relayUrl: string | null;
  readonly logFile: string;
  /** What the agent may do unasked: an approval mode, or the provider's own word. */
  readonly approval: string;
  view(): RunnerView;
  /** First: drain. Second: end everything at once. */
  signal(name: string): void;
  /**
   * Stops the agent and leaves bus and relay to others, because this process is about to be stopped. What has not been
   * begun when the signal aborts is left out.
   */
  suspend(signal: AbortSignal): Promise<void>;
  /** Goes on where `suspend` left off. */
  resume(): void;
  /** Resolves when everything is down: provider, relay, journal, lock. Never rejects. */
  readonly ended: Promise<ExitOutcome>;
}

/**
 * Brings a run up: lock, guard, journal, relay, control server, bus, provider. What cannot work is found out before
 * the provider has a conversation, and everything that was begun is taken back then.
 *
 * In this order because of the time it takes: what the provider needs for its own start comes first, and the rest of the
 * program is loaded while the provider starts.
 */
export async function startSession(
  settings: RunSettings,
  deps: SessionDeps,
): Promise<Session> {
  const { clock, log } = deps;
  const undo = new Undo(log);
  try {
    const adapter = await loadAdapter(settings.provider);
    const command = providerCommand(settings, deps.env.PATH);
    const place = await takePlace(settings, undo, deps);
    deps.placed(place.agentId);
    const address = settings.goal.bus ? await relayAddress(settings) : null;
    if (address !== null) deps.redactor.add(address.token);
    const setup = providerSetup(settings, { command, env: deps.env, place, relay: address });
    const approval = adapter.ownApproval?.(setup) ?? settings.approval.value;
    setup.env.AGENT_RELAY_APPROVAL = approval;
    undo.add(() => adapter.dispose?.({ graceful: true }));
    await adapter.prepare?.(setup, { processes: place.processes, clock, log: log.child(adapter.provider) });
    const { relayPlace } = await import("./relay_place.ts");
    const relay = address === null ? null : relayPlace(address, settings, deps);
    undo.add(() => relay?.host?.stop());
    const relayThere = relay?.host?.ensure() ?? Promise.resolve();
    relayThere.catch(() => {});
    const { assemble } = await import("./assemble.ts");
    return await assemble({ settings, deps, undo, adapter, place, relay, relayThere, setup, approval });
  } catch (error) {
    await undo.run();
    throw error;
  }
}
