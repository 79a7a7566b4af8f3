import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { ExitStatus, Processes } from "../process/contract.ts";
import type { DeliveryTiming } from "../protocol/message.ts";
import type { ToolResult, ToolSpec } from "../protocol/tools.ts";

/** What the person allows the agent to do; mapped to each provider's real settings. */
export type ApprovalMode = "read-only" | "guarded" | "open";

/** What is the same for every incarnation of a run, and known before anything else of the run is there. */
export interface ProviderSetup {
  /** Absolute path of the provider's command, resolved once at start. */
  command: string;
  /** `defaultArgs` of the provider's file plus what stands after `--`. */
  args: string[];
  cwd: string;
  /** The child's complete environment, already filtered (never the relay token). */
  env: Record<string, string>;
  approval: ApprovalMode;
  headless: boolean;
  /** Agent id on the bus; also used to name the conversation. */
  agentId: string;
  label: string | null;
  /** Runner version, for handshakes. */
  version: string;
  /** Private 0700 directory of this agent for generated files. */
  stateDir: string;
  /** The conversation that the run begins with: `last` (of this agent), `new`, or the id of one. */
  conversation: string;
  /** The run has one piece of work. */
  once: boolean;
  /** Limits of the run, for providers that can keep them more exactly than we; null without. */
  maxTurns: number | null;
  maxCostUsd: number | null;
  /** Command line that starts this very program with a hidden verb, for hooks and monitors. */
  self(verb: string): { command: string; args: string[] };
  /** How messages reach an agent in a terminal; `auto` takes the best that its version has. */
  delivery: DeliveryChannel;
}

/** Everything an adapter needs to start one incarnation of its provider. */
export interface ProviderLaunch extends ProviderSetup {
  /** Conversation to continue (Claude session id, Codex thread id), null for a new one. */
  resume: string | null;
  /**
   * No conversation was open in this run yet: what the person gave for its beginning (a choice of the conversation, a
   * prompt) counts. A later start goes on with `resume` and does none of it again.
   */
  opening: boolean;
  /**
   * Deliveries that an earlier incarnation was given and that must not run now, since another agent may have the work.
   * A provider whose queue outlives it takes them out before it goes on.
   */
  unwanted: readonly string[];
  /** Rises with every start; events of an old incarnation are ignored by the core. */
  incarnation: number;
  /** The agent's door to this runner. The token belongs in generated 0600 files, never in argv or environment. */
  control: { url: string; hookToken: string };
  /** What the agent can do on the bus by itself; absent in a run without a relay. */
  tools?: ToolPort;
}

/** Carries out what an agent does on the bus by itself, as that agent. */
export interface ToolPort {
  /** Rejects only with the signal's reason: what goes wrong is a result for the model. */
  call(name: ToolSpec["name"], args: unknown, signal: AbortSignal): Promise<ToolResult>;
}

/** Ways of delivery a person can choose. */
export type DeliveryChannel = "auto" | "socket" | "monitor";

/** One message on its way to the model. */
export interface Delivery {
  /** UUIDv5 of storeId/agentId/messageId/attempt. */
  deliveryId: string;
  /** Id and sender, for channels that carry a pointer to the text instead of the text. */
  messageId: number;
  from: string;
  /** Framed text, ready for the model. */
  text: string;
  when: DeliveryTiming;
}

/** Why a turn failed; decides what happens to its messages. */
export type FailureClass =
  /** Network, 5xx, overload: tried again with back-off. */
  | "transient"
  /** The message itself cannot be processed (too long, bad request): dead letter. */
  | "message"
  /** Login, quota, configuration of the provider: the queue is held, nothing is burnt. */
  | "provider"
  /** Somebody interrupted or cancelled the turn: a new attempt. */
  | "cancelled"
  /** The provider kept a limit it was given (turns, cost): the run is over, the message is not. */
  | "limit";

/** What a provider tells its runner. Every event carries no incarnation: the shell adds it. */
export type ProviderEvent =
  /**
   * The provider can take deliveries. `resume` is the id to continue this conversation with, `channel` the way that
   * deliveries take where there is more than one.
   */
  | { type: "ready"; resume: string | null; channel?: string }
  /** The conversation changed (Claude `/clear`, Codex `/new`). */
  | { type: "conversation"; resume: string }
  | { type: "activity"; activity: Activity }
  /** Proof of a stage. Stages of one delivery arrive in order; a repeat is harmless. */
  | { type: "evidence"; deliveryId: string; stage: "placed" | "seen"; evidence: string }
  /** The turn that handled these deliveries completed without error; `text` is its final answer. */
  | { type: "done"; deliveryIds: string[]; text: string; evidence: string; costUsd?: number }
  /** The turn failed, was cancelled or refused. */
  | { type: "failed"; deliveryIds: string[]; failure: FailureClass; reason: string; costUsd?: number }
  /** The model answered once: a turn in the sense of `--max-turns`; one message may take many. */
  | { type: "turn" }
  /** Something wrong with the provider that a person must mend (`login`, `usage limit`, `trust dialog`); null clears it. */
  | { type: "fault"; reason: string | null }
  /** What the person asked for cannot be had, and trying again cannot help: the run ends. Before `ready`. */
  | { type: "refused"; reason: string }
  /** The person ended the agent at its terminal, which ends the run. May come while no incarnation lives. */
  | { type: "quit"; status: ExitStatus }
  /** Output for a person or a CI log: the agent's text as it comes. */
  | { type: "output"; text: string };

/** What the provider is doing. `approval` means: waiting for a person. */
export type Activity = "idle" | "busy" | "approval";

/** What a look into the provider's own record (transcript, thread, queue) says about a delivery. */
export type ProbeResult =
  /** Provably not there: may be delivered again. */
  | { state: "absent" }
  /** Held by the provider and going to run by itself: wait. */
  | { state: "placed"; evidence: string }
  | { state: "seen"; evidence: string }
  | { state: "done"; evidence: string; text: string }
  | { state: "failed"; failure: FailureClass; reason: string }
  /** The record cannot be read. */
  | { state: "unknown"; reason: string };

/** What a hook of the agent told the control server. Fields differ by event and version: nothing is taken for granted. */
export interface HookEvent {
  /** For example `UserPromptSubmit`. */
  name: string;
  body: Record<string, unknown>;
}

/** How a provider ended, with what it said of that, as {@linkcode LastWords} keeps it: secrets may be in it. */
export interface ProviderExit extends ExitStatus {
  lastWords?: string;
}

/** A running provider. */
export interface ProviderSession {
  readonly pid: number;
  /** Resolves when the provider has ended, for whatever reason; never rejects. */
  readonly exited: Promise<ProviderExit>;
  /**
   * Hands one message over. Resolves when the bytes are with the provider's channel (stage `handed`), which
   * proves nothing; rejects when that failed or took over 30 s.
   */
  deliver(delivery: Delivery, signal: AbortSignal): Promise<void>;
  /** Looks for deliveries of an earlier incarnation after a crash. Never throws; deadline 30 s. */
  probe(deliveryIds: string[], signal: AbortSignal): Promise<Map<string, ProbeResult>>;
  /** Interrupts the running turn, if any; resolves when the provider took note or after 2 s. */
  interrupt(): Promise<void>;
  /**
   * Ends the provider and its whole tree. Graceful: ask, wait, then escalate within `timeoutMs`; otherwise kill
   * at once. Idempotent, never rejects.
   */
  shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus>;
  /** Takes a hook of this incarnation. Must neither throw nor wait: the agent waits for the answer. */
  hook?(event: HookEvent): void;
}

/** One message as a monitor gets it: a line for the model that points to the text. */
export interface MonitorNotice {
  messageId: string;
  /** At most 480 printable ASCII characters. */
  line: string;
}

/** The one live monitor of the session: a helper of the agent whose output lines reach the model. */
export interface MonitorPort {
  /**
   * Hands notices to the monitor; resolves once it confirmed every one, which proves no more than `handed`. Waits for
   * a monitor to connect. Rejects when the monitor goes away first, or with the signal's reason.
   */
  deliver(deliveryId: string, notices: readonly MonitorNotice[], signal: AbortSignal): Promise<void>;
  /** Calls the listener now and at every change; returns how to end that. */
  watch(listener: (connected: boolean) => void): () => void;
}

/** What an adapter is given to work with. */
export interface ProviderPorts {
  processes: Processes;
  clock: Clock;
  /** In [0, 1). */
  random(): number;
  log: Log;
  monitor: MonitorPort;
  /** Called for every event, never after `exited` resolved (but `quit`). Must not throw. */
  emit(event: ProviderEvent): void;
}

/**
 * A provider of the house, for one run: what outlives an incarnation of its process is the adapter's. `claude`, `codex`
 * and `echo` implement it.
 */
export interface ProviderAdapter {
  readonly provider: string;
  /** Deliveries in flight per session: 1 for agents, 64 for echo. */
  readonly window: number;
  /** The argument list of the main process, pure, for golden tests. */
  buildSpawnArgs(launch: ProviderLaunch): string[];
  /**
   * Returns the provider's own word for what the agent may do unasked, where the person's arguments say it instead of an
   * approval mode; null without. It is what the bus is told.
   */
  ownApproval?(setup: ProviderSetup): string | null;
  /**
   * Checks what a person gave before anything is started, and begins with what the first start needs anyway (its version,
   * a server without a conversation) beside the rest of the run; resolves once that is under way. Throws RunnerError for
   * what cannot work; a process that cannot be started is left for `spawn` to tell.
   */
  prepare?(
    setup: ProviderSetup,
    ports: Pick<ProviderPorts, "processes" | "clock" | "log">,
  ): void | Promise<void>;
  /**
   * Starts the provider and resolves once its process runs; `ready` follows as an event. Rejects with
   * RunnerError `E_PROVIDER_CMD` (not retried) or another error (retried with back-off). Leaves no process
   * behind when it rejects.
   */
  spawn(launch: ProviderLaunch, ports: ProviderPorts): Promise<ProviderSession>;
  /**
   * Ends what belongs to the run and not to one incarnation, like the terminal of Codex. Called when the run is over.
   * Idempotent, bounded, never rejects.
   */
  dispose?(options: { graceful: boolean }): Promise<void>;
}
