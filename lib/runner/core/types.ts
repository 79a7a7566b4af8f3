import type { Agenda } from "../../base/agenda.ts";
import type { ErrorCode } from "../../base/errors.ts";
import type { CommandRow, JournalRow } from "../../inbox/contract.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { CommandPayload, CommandUpdatePayload, StatusPayload } from "../../protocol/frames.ts";
import type { Message, StageReport } from "../../protocol/message.ts";
import type {
  Activity,
  FailureClass,
  ProbeResult,
  ProviderEvent,
  ProviderExit,
} from "../../providers/contract.ts";
import type { Goal, Progress } from "./goal.ts";
import type { Verdict } from "./status.ts";
import type { Waiting } from "./waiting.ts";

/** Limits and identity of one run; constant. All durations in milliseconds. */
export interface CoreConfig {
  agentId: string;
  runnerId: string;
  instanceId: string;
  provider: string;
  label: string | null;
  tags: string[];
  capabilities: string[];
  headless: boolean;
  goal: Goal;
  /** The conversation that the run begins with: `last`, `new`, or the id of one. */
  conversation: string;
  /** Deliveries in flight per provider session. */
  window: number;
  /** Lifecycle commands from the bus are refused when false (`--no-remote-lifecycle`). */
  remoteLifecycle: boolean;
  drainTimeoutMs: number;
  /** Grace between asking the provider to stop and killing it. */
  stopGraceMs: number;
  /** Wait after a provider's death before its record is trusted to be complete. */
  settleMs: number;
  /** Provider idle for this long with a delivery in flight: its record is asked. */
  probeAfterMs: number;
  /** Time that a start may take until the provider is ready; Infinity where a person may be asked something first. */
  startTimeoutMs: number;
  /** No sign of life in a turn for this long, and no processor time either: the provider hangs. Infinity: never. */
  stallTimeoutMs: number;
  maxFailures: number;
  /** Messages taken at a time; more are left at the relay until there is room. */
  maxQueue: number;
  /** Bytes of texts kept in memory; beyond it a message waits without its text, which is fetched when its turn comes. */
  maxBodyBytes: number;
}

/** The time and the one random number a step may use. */
export interface Now {
  mono: number;
  wall: number;
  /** In [0, 1); drawn by the shell, so that a step has no hidden input. */
  random: number;
}

/** Everything that can happen to a runner. */
export type Event =
  | { type: "start" }
  /** `serverTime`: the relay's wall clock. */
  | { type: "bus.up"; storeId: string; serverTime?: number }
  | { type: "bus.down"; reason: string; auth: boolean }
  /** `paged`: it came in a page of unread mail that was asked for, not as a push. */
  | { type: "offered"; message: Message; paged?: boolean }
  /**
   * The pages asked for by `resync` have been offered up to message `through`; why there are no more now. `retryAfterMs`:
   * the relay wants to be asked again no earlier; bounded by whoever asked it.
   */
  | { type: "resynced"; end: "reached" | "full" | "failed"; through: number; retryAfterMs?: number }
  /** The text of a message that waited without it, or null when the relay no longer has it. */
  | { type: "fetched"; key: string; message: Message | null }
  | { type: "fetch.failed"; key: string; reason: string; retryAfterMs?: number }
  /** Every dead letter of this agent that the relay knows, up to message `through`. */
  | {
    type: "dead.listed";
    storeId: string;
    letters: { messageId: number; generation: number }[];
    through: number;
  }
  /** A person dropped a dead letter. */
  | { type: "dropped"; storeId: string; messageId: number; generation: number }
  /** The process uses much memory: `soft` gives texts back, `hard` ends the run. */
  | { type: "memory"; pressure: "soft" | "hard"; rssBytes: number }
  /** `renewal`: the answer is to a renewal of a lease, not to a claim. */
  | { type: "claim.won"; key: string; sentAt: number; leaseMs: number; renewal?: boolean }
  | { type: "claim.lost"; key: string; renewal?: boolean }
  | { type: "claim.failed"; key: string; reason: string; renewal?: boolean }
  | { type: "handed"; key: string; deliveryId: string }
  | { type: "hand.failed"; key: string; deliveryId: string; reason: string }
  /** Not a byte was handed over: the journal could not be written. */
  | { type: "hand.refused"; key: string; deliveryId: string }
  | { type: "acked"; keys: string[] }
  | { type: "ack.failed"; keys: string[]; reason: string }
  | { type: "replied"; key: string }
  | { type: "reply.failed"; key: string; reason: string; permanent: boolean }
  | { type: "spawned"; incarnation: number }
  | { type: "spawn.failed"; incarnation: number; permanent: boolean; reason: string }
  | { type: "provider"; incarnation: number; event: ProviderEvent }
  | { type: "exited"; incarnation: number; status: ProviderExit }
  /** Processor time of the provider and what it started so far; null when nobody can tell. */
  | { type: "measured"; incarnation: number; cpuMs: number | null }
  | { type: "probed"; incarnation: number; results: Map<string, ProbeResult> }
  | { type: "command"; command: CommandPayload }
  /** A command is on disk. */
  | { type: "begin"; commandId: string }
  /** The relay has the answer to a command. */
  | { type: "command.told"; commandId: string }
  | { type: "signal"; signal: string }
  | { type: "storage"; ok: boolean; reason: string }
  | { type: "tick" };

/** Everything a runner can do to the world. Performed by the shell after the step's writes are on disk. */
export type Effect =
  /** `lazy`: nothing rests on it, so it may wait for the next commit; after a crash the event comes again. */
  | { type: "persist"; row: JournalRow; lazy?: true }
  | { type: "persist.command"; row: CommandRow }
  | { type: "persist.resume"; resume: string | null }
  | { type: "claim"; key: string; messageId: number }
  | { type: "renew"; key: string; messageId: number }
  | { type: "release"; messageId: number }
  | {
    type: "deliver";
    key: string;
    incarnation: number;
    deliveryId: string;
    redelivery: number;
    message: Message;
  }
  | { type: "ack"; key: string; messageId: number }
  /** `storeId`: the store that the message id belongs to; the local one for the run's own prompt. */
  | { type: "report"; report: StageReport; storeId: string }
  /** A turn ended: for whoever follows the run. */
  | { type: "turn"; turn: TurnResult }
  | { type: "reply"; key: string; message: Message; deliveryId: string; text: string }
  | { type: "publish"; status: StatusPayload }
  /** Offer every unread message above `sinceId`, in pages, until they end or the queue is full. */
  | { type: "resync"; sinceId: number }
  /** Fetch the text of a message that waits without it. */
  | { type: "fetch"; key: string; messageId: number }
  /** A finished message was offered again. */
  | { type: "reoffered"; key: string; messageId: number }
  | { type: "spawn"; incarnation: number; resume: string | null; opening: boolean; unwanted: string[] }
  | { type: "probe"; incarnation: number; deliveryIds: string[] }
  | { type: "interrupt" }
  /** Ask for the provider's processor time. */
  | { type: "measure"; incarnation: number }
  | { type: "stop-provider"; graceful: boolean; timeoutMs: number }
  | { type: "command.update"; update: CommandUpdatePayload }
  /** The command is on disk and may begin: comes back as an event. */
  | { type: "begin"; commandId: string }
  | { type: "output"; text: string }
  | {
    type: "log";
    level: "info" | "warn" | "error";
    message: string;
    fields?: Record<string, string | number>;
  }
  /** `hardAfterMs`: the guard ends everything when the process still lives then. */
  | { type: "watchdog"; hardAfterMs: number }
  | { type: "exit"; outcome: ExitOutcome };

/** How one turn ended. */
export type TurnResult =
  & { messageIds: number[]; costUsd?: number }
  & ({ outcome: "done"; text: string } | { outcome: "failed"; failure: FailureClass; reason: string });

/** How the run ends. The command, when one caused it, is answered after the agent is removed. */
export interface ExitOutcome {
  /** What made it end; `lib/cli/exit_codes.ts` maps codes of errors, `signal` maps to 128+n. */
  cause:
    | { kind: "drained" }
    /** The goal of the run is reached. */
    | { kind: "completed" }
    | { kind: "signal"; signal: string }
    | { kind: "command"; commandId: string; action: string }
    | { kind: "error"; code: ErrorCode; message: string }
    | { kind: "provider"; status: ExitStatus };
  /** Remove the agent from the relay (shutdown, kill); otherwise its mail waits for the next run. */
  deregister: boolean;
}

/** Something wrong with the provider that a person must mend; deliveries stop but for one trial now and then. */
export interface Fault {
  reason: string;
  /** A failed turn showed it, or the provider said it itself. */
  shownBy: "turn" | "provider";
  /** When the next trial is due (monotonic); Infinity while one is under way. */
  retryAt: number;
  tries: number;
}

/** The provider's process as the core knows it. */
export type ProviderState =
  | { state: "none" }
  | { state: "spawning"; incarnation: number }
  /** The process runs but is not ready. */
  | { state: "starting"; incarnation: number; since: number }
  | { state: "ready"; incarnation: number; activity: Activity; since: number; channel?: string }
  /** `because`: it is ended since it hangs, and started again after. */
  | { state: "stopping"; incarnation: number; because?: string }
  /** Dead; the next start is due at `until` (monotonic). */
  | { state: "waiting"; until: number; reason: string }
  | { state: "failed"; reason: string };

/** What is done about a provider that gives no sign of life in a turn. */
export type Silence =
  | { silence: "none" }
  /** Its processor time was asked for; `cpuMs` is that of the first time. */
  | { silence: "asked"; cpuMs: number | null }
  /** It is asked for a second time at `until` (monotonic). */
  | { silence: "watched"; cpuMs: number; until: number }
  /** Its turn was interrupted; without a sign of life by `until` it is ended. */
  | { silence: "interrupted"; until: number };

/** What the run as a whole is doing. */
export type Phase =
  | { phase: "running" }
  /** Lets the current turn finish until `deadline`, then stops the provider. */
  | { phase: "draining"; deadline: number; then: "exit" | "respawn"; outcome: ExitOutcome }
  /** Waits for the provider's end. */
  | { phase: "stopping"; then: "exit" | "respawn"; outcome: ExitOutcome }
  | { phase: "ended" };

/** A lease as we may rely on it: counted from the request, on the monotonic clock. */
export interface Lease {
  sentAt: number;
  leaseMs: number;
  renewing: boolean;
}

/**
 * The runner's whole knowledge. Owned by the shell; `step` updates it in place (copying a queue of thousands
 * per event would make the cost of a message grow with the queue).
 */
export interface State {
  readonly config: CoreConfig;
  phase: Phase;
  run: Progress;
  provider: ProviderState;
  incarnation: number;
  resume: string | null;
  /** No conversation was open in this run yet: what the person gave for its beginning still counts. */
  opening: boolean;
  bus: "down" | "up" | "auth";
  /** The store that the relay served last; null until it was reached. Message ids mean nothing in another one. */
  storeId: string | null;
  /** What the relay's wall clock showed at a monotonic time; null until it was reached. */
  relayClock: { wall: number; at: number } | null;
  /** Wall clock minus monotonic clock at the last step: it grows when the machine slept. Null before the first. */
  clockOffset: number | null;
  /** What a person must mend at the provider, with the time of the next try. */
  fault: Fault | null;
  storage: { ok: true } | { ok: false; reason: string };
  /** Monotonic times of unexpected exits within the breaker's window. */
  exits: number[];
  healthySince: number | null;
  /** Monotonic time of the last event of the provider. */
  signAt: number;
  silence: Silence;
  /** Unfinished messages by key. */
  rows: Map<string, JournalRow>;
  /** Bytes of the texts in `rows`. */
  bodyBytes: number;
  /** Mail in state `received`, in the order of delivery. See waiting.ts. */
  mail: Waiting[];
  /** Claimable work in state `received`. */
  work: Waiting[];
  /** Keys of rows in state `held`. */
  held: Set<string>;
  /** Texts to fetch: due time on the monotonic clock, Infinity while asked. */
  fetches: Agenda;
  /** Finished keys remembered for dedup, oldest first; bounded. */
  known: Set<string>;
  /** Attempt to begin with when a message whose claim was lost is offered again; bounded. */
  skipped: Map<
    string,
    Pick<JournalRow, "storeId" | "messageId" | "attempt" | "generation" | "redelivery" | "handed">
  >;
  /** Dead letters that are no more, with the life that they died in: a person may have opened them again; bounded. */
  gone: Map<string, JournalRow>;
  /** Dead letters by key, oldest first, without their texts; bounded. */
  dead: Map<string, JournalRow>;
  /** Dead letters of which the relay may not know yet. */
  untold: Set<string>;
  flight: Set<string>;
  /** Those of the flight that need a lease. */
  claimed: Set<string>;
  /** Those of the flight that are tasks. */
  tasks: Set<string>;
  /**
   * Delivery ids whose work was taken away while its turn ran, with the monotonic time until which that turn counts
   * against the window: an interrupt takes time, and the next delivery must not run beside it.
   */
  interrupted: Map<string, number>;
  byDelivery: Map<string, string>;
  /** Deliveries whose work was stopped since its lease ran out. */
  lapsed: Set<string>;
  /** Deliveries that the provider did not take although it lives, with the reason. */
  refused: Map<string, string>;
  /** How often the live provider was given a message, by key, of which its record has no trace. */
  traceless: Map<string, number>;
  /** Deliveries whose message waits again since the provider's record did not have them; it may begin them after all. */
  putBack: Map<string, string>;
  leases: Map<string, Lease>;
  /**
   * Claim requests under way, by key. `offered again`: the work was offered once more since, so that a refusal that
   * comes now may be older than the offer. `clock moved`: nobody knows how old the lease is that is granted now.
   */
  claiming: Map<string, "asked" | "offered again" | "clock moved">;
  /** No claim is tried before this time (monotonic). */
  claimNotBefore: number;
  /** Acks and replies to (re)try: due time on the monotonic clock, Infinity while under way. */
  acks: Agenda;
  replies: Agenda;
  /** Failures so far of what the agendas above and `fetches` try again, by agenda and key. */
  tries: Map<string, number>;
  /** Messages that wait after a failed turn: when their next attempt is due (monotonic). */
  retries: Agenda;
  /** Deliveries whose fate is unclear: when to ask the provider's record; Infinity while asked. */
  suspects: Map<string, number>;
  /** Monotonic time of the last progress of each delivery in flight. */
  progress: Map<string, number>;
  /**
   * `behind`: messages were left at the relay because the queue was full. Pushes, which are newer, are left there too
   * until pages of unread mail have caught up, so that the order holds.
   */
  intake: "open" | "behind";
  /** Pages of unread mail are being offered. */
  resync: "idle" | "running";
  /** Lowest id that was left at the relay since the pages were asked for, Infinity when none was. */
  leftFrom: number;
  /** No pages are asked for before this time (monotonic). */
  resyncNotBefore: number;
  /** Rows of an earlier run whose receipts the relay may not have in full; told at the first `bus.up`. */
  recovered: string[];
  commands: Map<string, CommandRow>;
  /** The restart command that is answered once the new provider is ready, or the run ends without one. */
  restarting: string | null;
  lastLifecycleAt: number;
  /** What was last published, to publish changes only. */
  published: Verdict | null;
}
