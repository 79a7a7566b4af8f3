import { messageOf, shown } from "../../base/errors.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import { ConversationMemory } from "../conversation_memory.ts";
import type {
  Activity,
  Delivery,
  HookEvent,
  ProbeResult,
  ProviderEvent,
  ProviderLaunch,
  ProviderPorts,
  ProviderSession,
} from "../contract.ts";
import { interactiveArguments, settingsOf } from "./arguments.ts";
import { type Channel, MonitorChannel, SocketChannel, Undeliverable } from "./channel.ts";
import { conversationFor } from "./conversation.ts";
import { blockingDialog } from "./dialogs.ts";
import { TranscriptFollower } from "./follower.ts";
import { hookSettings, readHook } from "./hooks.ts";
import { unpackPlugin } from "./plugin.ts";
import { findSession, readSession, type SessionInfo, type SessionMark } from "./session_file.ts";
import { mergedSettings, removeSettings, writeSettings } from "./settings_file.ts";
import { probeTranscripts } from "./transcript.ts";
import { TranscriptTail } from "./transcript_tail.ts";
import { chooseRung, claudeVersion } from "./version.ts";
import { Watch } from "./watch.ts";

/** While the session is not there yet, and while something is on its way. */
const QUICK_MS = 200;
/** While all is idle: hooks say when that changes; where hooks are switched off, this is how late the status is. */
const IDLE_MS = 2_000;
/** A session that is not there, or has no way for messages, after this time waits for the person. */
const PATIENCE_MS = 4_000;
/** A monitor starts with the session, in a process of its own, and comes back when it lost the connection. */
const MONITOR_PATIENCE_MS = 10_000;
/** Clocks are the same, but `startedAt` is taken by another process. */
const START_SLACK_MS = 1_000;

/**
 * Claude Code (2.1.330) in the person's terminal. Messages go in through a {@linkcode Channel}; the status comes from
 * Claude's own session file, and evidence from hooks and transcript.
 */
export class InteractiveClaude implements ProviderSession {
  readonly #child: ChildHandle;
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #channel: Channel;
  readonly #mark: SessionMark;
  /** What it was started with, merged. */
  readonly #settings: Record<string, unknown>;
  readonly #follower: TranscriptFollower;
  readonly #watch: Watch;
  readonly #unwatchMonitor: () => void;
  readonly #startedAt: number;
  readonly #memory: ConversationMemory;
  readonly exited: Promise<ExitStatus>;
  #session: SessionInfo | null = null;
  #tail: TranscriptTail | null = null;
  #activity: Activity = "idle";
  #ready = false;
  #fault: string | null = null;
  /** Whether a monitor is connected, and since when that is so (monotonic). */
  #monitor: { connected: boolean; since: number };
  /** Evidence that came while a hand-over was under way: a hook can be faster than the end of the hand-over. */
  #held: ProviderEvent[] | null = null;
  #ended = false;

  static async start(launch: ProviderLaunch, ports: ProviderPorts): Promise<InteractiveClaude> {
    const { log, clock, processes } = ports;
    const version = await claudeVersion(launch, clock);
    const rung = chooseRung(launch.delivery, version);
    const channel = rung === "socket" ? new SocketChannel(launch) : new MonitorChannel(launch, ports.monitor);
    log.info("way of delivery", { channel: channel.name, claude: version ?? "unknown" });
    try {
      const conversation = await conversationFor(launch);
      const settings = mergedSettings(launch, [
        settingsOf(launch),
        hookSettings(launch),
        // The model has to read the file that a notice names without a question to the person.
        channel instanceof MonitorChannel ? { permissions: { allow: [`Read(/${channel.dir}/**)`] } } : {},
      ]);
      const args = [
        "--plugin-dir",
        unpackPlugin(launch, { monitor: rung === "monitor", tools: launch.tools !== undefined }),
        ...interactiveArguments(launch, conversation, {
          settingsFile: writeSettings(launch, settings),
          socketPath: channel.socketPath,
          version,
        }),
      ];
      const startedAt = clock.wall() - START_SLACK_MS;
      const child = await processes.spawn({
        command: launch.command,
        args,
        cwd: launch.cwd,
        // Versions in which the socket is behind a switch open it with this.
        env: rung === "socket" ? { ...launch.env, CLAUDE_CODE_HARBOR_KITE: "1" } : launch.env,
        stdin: "inherit",
        stdout: "inherit",
        stderr: "inherit",
        ownGroup: false,
      });
      const mark = {
        pid: child.pid,
        socketPath: channel.socketPath,
        sessionId: conversation.sessionId,
        startedAt,
      };
      return new InteractiveClaude(child, launch, ports, { channel, mark, settings });
    } catch (error) {
      channel.dispose();
      throw error;
    }
  }

  private constructor(
    child: ChildHandle,
    launch: ProviderLaunch,
    ports: ProviderPorts,
    made: { channel: Channel; mark: SessionMark; settings: Record<string, unknown> },
  ) {
    const { clock } = ports;
    this.#child = child;
    this.#launch = launch;
    this.#ports = ports;
    this.#channel = made.channel;
    this.#mark = made.mark;
    this.#settings = made.settings;
    this.#startedAt = clock.mono();
    this.#memory = new ConversationMemory(launch.stateDir);
    this.#follower = new TranscriptFollower((event) => {
      if (event.type === "done" || event.type === "failed") {
        for (const id of event.deliveryIds) this.#channel.over(id);
      }
      if (this.#held === null) ports.emit(event);
      else this.#held.push(event);
    });
    this.#watch = new Watch(clock, { look: () => this.#look(), paceMs: () => this.#paceMs() });
    this.#monitor = { connected: false, since: clock.mono() };
    this.#unwatchMonitor = this.#channel instanceof MonitorChannel
      ? ports.monitor.watch((connected) => {
        if (connected !== this.#monitor.connected) this.#monitor = { connected, since: clock.mono() };
        this.#watch.poke();
      })
      : () => {};
    this.exited = child.exited.then(async (status) => {
      this.#end();
      // The last rows may have been written after the last look.
      await this.#readTranscript().catch(() => {});
      this.#release();
      this.#channel.dispose();
      removeSettings(launch);
      return status;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  #end(): void {
    this.#ended = true;
    this.#watch.stop();
    this.#unwatchMonitor();
  }

  #paceMs(): number {
    return this.#ready && this.#activity === "idle" && this.#follower.size === 0 ? IDLE_MS : QUICK_MS;
  }

  hook(event: HookEvent): void {
    if (this.#ended) return;
    this.#ports.log.debug("hook", { name: event.name });
    const fact = readHook(event);
    if (fact.kind === "prompt") this.#follower.prompt(fact.text);
    this.#watch.poke();
  }

  async #look(): Promise<void> {
    try {
      await this.#readSession();
      if (this.#ended) return;
      this.#checkWay();
      await this.#readTranscript();
    } catch (error) {
      this.#ports.log.warn("claude's own files cannot be read", { error: messageOf(error) });
    }
  }

  async #readSession(): Promise<void> {
    const before = this.#session;
    const session = before === null
      ? await findSession(this.#launch.env, this.#mark)
      : await readSession(before.path, this.#mark.startedAt);
    if (this.#ended) return;
    if (session === null) return before === null ? await this.#waitsForPerson() : undefined;
    if (before !== null && before.sessionId !== session.sessionId) {
      // `/clear` and `/resume`: the process lives on with another conversation; the old one may have last rows.
      await this.#readTranscript();
      if (this.#ended) return;
      this.#ports.emit({ type: "conversation", resume: session.sessionId });
    }
    this.#session = session;
    if (session.activity === this.#activity || !this.#ready) return;
    this.#activity = session.activity;
    this.#ports.emit({ type: "activity", activity: session.activity });
  }

  /** Says that messages can come, or plainly why they cannot. */
  #checkWay(): void {
    const session = this.#session;
    if (session === null) return;
    const missing = this.#missing(session);
    if (missing === null) {
      this.#setFault(null);
      if (this.#ready) return;
      this.#ready = true;
      this.#ports.emit({ type: "ready", resume: session.sessionId, channel: this.#channel.name });
    } else if (missing.patient) {
      this.#setFault(missing.reason);
    }
  }

  /** What the channel lacks; `patient` once it has been waited for long enough. */
  #missing(session: SessionInfo): { reason: string; patient: boolean } | null {
    const now = this.#ports.clock.mono();
    if (this.#channel.socketPath !== null) {
      if (session.socketPath === this.#channel.socketPath) return null;
      return {
        reason:
          "this claude listens on no session socket, so messages wait: update it, or set delivery to monitor",
        patient: now - this.#startedAt > PATIENCE_MS,
      };
    }
    if (this.#monitor.connected) return null;
    return {
      reason:
        "this claude has no session socket and runs no plugin monitor, so messages wait: update it (2.1.330 works)",
      patient: now - Math.max(this.#monitor.since, this.#startedAt) > MONITOR_PATIENCE_MS,
    };
  }

  /** Nothing is answered by keystrokes: what waits is named, in the log and on the bus. */
  async #waitsForPerson(): Promise<void> {
    if (this.#ports.clock.mono() - this.#startedAt < PATIENCE_MS) return;
    const dialog = await blockingDialog(this.#launch, this.#settings);
    if (!this.#ended) this.#setFault(`blocked: ${dialog}`);
  }

  #setFault(reason: string | null): void {
    if (reason === this.#fault) return;
    this.#fault = reason;
    if (reason !== null) this.#ports.log.warn("claude cannot take messages", { reason });
    this.#ports.emit({ type: "fault", reason });
  }

  /** Feeds the rows that are new since the last look to the follower. */
  async #readTranscript(): Promise<void> {
    const sessionId = this.#session?.sessionId;
    if (sessionId === undefined) return;
    if (this.#tail?.sessionId !== sessionId) this.#tail = new TranscriptTail(this.#launch, sessionId);
    await this.#tail.read((row) => this.#follower.take(row, sessionId));
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { deliveryId, text } = delivery;
    if (this.#session !== null) this.#memory.note(this.#session.sessionId);
    this.#follower.handed(deliveryId, text, this.#channel.pathOf(deliveryId));
    this.#held ??= [];
    try {
      await this.#channel.deliver(delivery, signal);
      this.#watch.poke();
    } catch (error) {
      // What is proven counts more than how the hand-over ended.
      if (this.#follower.isPlaced(deliveryId)) return;
      this.#follower.forget(deliveryId);
      if (!(error instanceof Undeliverable)) throw error;
      const reason = error.message;
      this.#ports.emit({ type: "failed", deliveryIds: [deliveryId], failure: "message", reason });
    } finally {
      // Not before the caller noted the hand-over: stages arrive in order.
      this.#ports.clock.setTimer(0, () => this.#release());
    }
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.#ports.emit(event);
  }

  async probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    const asked: string[] = [];
    for (const id of deliveryIds) {
      if (this.#follower.has(id) && this.#activity !== "idle") {
        results.set(id, { state: "placed", evidence: "held by the running claude" });
      } else asked.push(id);
    }
    try {
      const notices = this.#channel.socketPath === null;
      // A message that waited while the person turned to another conversation may have come there.
      const present = this.#session === null ? [] : [this.#session.sessionId];
      const conversations = new Set([...present, ...this.#memory.ids]);
      for (const [id, result] of await probeTranscripts(this.#launch, conversations, asked, { notices })) {
        results.set(id, result);
      }
    } catch (error) {
      for (const id of asked) results.set(id, { state: "unknown", reason: messageOf(error) });
    }
    for (const [id, { state }] of results) {
      if (state !== "absent" && state !== "placed") this.#follower.forget(id);
    }
    return results;
  }

  /** A turn in the person's terminal is theirs to interrupt; there is no way for it but their keys. */
  interrupt(): Promise<void> {
    return Promise.resolve();
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    this.#end();
    const status = await this.#child.stop({ graceMs: options.graceful ? options.timeoutMs : 0 });
    this.#ports.log.debug("claude ended", { how: shown(status.signal ?? String(status.code)) });
    return status;
  }
}
