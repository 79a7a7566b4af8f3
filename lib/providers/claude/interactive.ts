import { join } from "@std/path";
import { messageOf, shown } from "../../base/errors.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import type {
  Activity,
  Delivery,
  ProbeResult,
  ProviderLaunch,
  ProviderPorts,
  ProviderSession,
} from "../contract.ts";
import { type ConversationStart, interactiveArguments, settingsOf } from "./arguments.ts";
import { TranscriptFollower } from "./follower.ts";
import { unpackPlugin } from "./plugin.ts";
import { blockingDialog, findSession, readSession, type SessionInfo } from "./session_file.ts";
import { writeSettings } from "./settings_file.ts";
import { findTranscript, probeTranscript, type Row } from "./transcript.ts";

const POLL_MS = 200;
/** A session that is not there after this time waits for the person. */
const DIALOG_MS = 4_000;
/** Longest path of a Unix socket. */
const SOCKET_PATH_BYTES = 100;
const LINE_BYTES = 1024 * 1024;
const PRIORITY = { now: "now", next: "next", idle: "later" } as const;

/**
 * Claude Code (2.1.330) in the person's terminal: messages go in through its session socket, which leaves a half-typed
 * line alone; evidence comes from the transcript, the status from Claude's own session file.
 */
export class InteractiveClaude implements ProviderSession {
  readonly #child: ChildHandle;
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #socketPath: string;
  readonly #follower: TranscriptFollower;
  readonly exited: Promise<ExitStatus>;
  #session: SessionInfo | null = null;
  #activity: Activity = "idle";
  #dialog: string | null = null;
  #transcript: { sessionId: string; path: string | null; offset: number; rest: string } | null = null;
  #ended = false;
  #cancelPoll: () => void;
  #startedAt: number;

  static async start(launch: ProviderLaunch, ports: ProviderPorts): Promise<InteractiveClaude> {
    const known = launch.resume !== null &&
      await findTranscript(launch.env, launch.cwd, launch.resume) !== null;
    const conversation: ConversationStart = known
      ? { kind: "resume", sessionId: launch.resume! }
      : { kind: "new", sessionId: crypto.randomUUID() };
    const socketPath = socketPathFor(launch.stateDir);
    const child = await ports.processes.spawn({
      command: launch.command,
      args: [
        "--plugin-dir",
        unpackPlugin(launch.stateDir),
        ...interactiveArguments(launch, conversation, {
          settingsFile: writeSettings(launch, settingsOf(launch.approval)),
          socketPath,
        }),
      ],
      cwd: launch.cwd,
      // Versions in which the socket is behind a switch open it with this.
      env: { ...launch.env, CLAUDE_CODE_HARBOR_KITE: "1" },
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      ownGroup: false,
    });
    return new InteractiveClaude(child, launch, ports, socketPath);
  }

  private constructor(child: ChildHandle, launch: ProviderLaunch, ports: ProviderPorts, socketPath: string) {
    this.#child = child;
    this.#launch = launch;
    this.#ports = ports;
    this.#socketPath = socketPath;
    this.#follower = new TranscriptFollower((event) => ports.emit(event));
    this.#startedAt = ports.clock.mono();
    this.#cancelPoll = ports.clock.setTimer(POLL_MS, () => this.#poll());
    this.exited = child.exited.then(async (status) => {
      this.#ended = true;
      this.#cancelPoll();
      // The last rows may have been written after the last look.
      await this.#readTranscript().catch(() => {});
      return status;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  #poll(): void {
    this.#look().catch((error) =>
      this.#ports.log.warn("claude's own files cannot be read", { error: messageOf(error) })
    ).finally(() => {
      if (!this.#ended) this.#cancelPoll = this.#ports.clock.setTimer(POLL_MS, () => this.#poll());
    });
  }

  async #look(): Promise<void> {
    const before = this.#session;
    const session = before === null
      ? await findSession(this.#launch.env, this.#socketPath)
      : await readSession(before.path, this.#socketPath);
    if (this.#ended) return;
    if (session === null) return before === null ? await this.#waitsForPerson() : undefined;
    this.#session = session;
    if (before === null) {
      this.#dialog = null;
      this.#ports.emit({ type: "ready", resume: session.sessionId });
    } else if (before.sessionId !== session.sessionId) {
      // `/clear` and `/resume`: the process lives on with another conversation.
      this.#ports.emit({ type: "conversation", resume: session.sessionId });
    }
    if (session.activity !== this.#activity) {
      this.#activity = session.activity;
      this.#ports.emit({
        type: "activity",
        activity: session.activity,
        ...(session.waitingFor === null ? {} : { detail: session.waitingFor }),
      });
    }
    await this.#readTranscript();
  }

  /** Nothing is answered by keystrokes: what waits is named, in the log and on the bus. */
  async #waitsForPerson(): Promise<void> {
    if (this.#ports.clock.mono() - this.#startedAt < DIALOG_MS) return;
    const dialog = `blocked: ${await blockingDialog(this.#launch.env, this.#launch.cwd)}`;
    if (dialog === this.#dialog || this.#ended) return;
    this.#dialog = dialog;
    this.#ports.log.warn("claude waits for the person at the terminal", { dialog });
    this.#ports.emit({ type: "fault", reason: dialog });
  }

  /** Feeds the rows that are new since the last look to the follower. */
  async #readTranscript(): Promise<void> {
    const sessionId = this.#session?.sessionId;
    if (sessionId === undefined) return;
    if (this.#transcript?.sessionId !== sessionId) {
      this.#transcript = { sessionId, path: null, offset: 0, rest: "" };
    }
    const transcript = this.#transcript;
    transcript.path ??= await findTranscript(this.#launch.env, this.#launch.cwd, sessionId);
    if (transcript.path === null) return;
    const { size } = await Deno.stat(transcript.path);
    if (size <= transcript.offset) return;
    const text = transcript.rest + await readFrom(transcript.path, transcript.offset, size);
    transcript.offset = size;
    const end = text.lastIndexOf("\n");
    transcript.rest = text.slice(end + 1);
    for (const line of text.slice(0, end + 1).split("\n")) {
      if (line === "") continue;
      let row: Row;
      try {
        row = JSON.parse(line) as Row;
      } catch {
        continue;
      }
      this.#follower.take(row);
    }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { deliveryId, text, when } = delivery;
    const line = JSON.stringify({
      type: "user",
      uuid: deliveryId,
      msg_id: deliveryId,
      priority: PRIORITY[when],
      message: { role: "user", content: text },
    }) + "\n";
    const bytes = new TextEncoder().encode(line);
    if (bytes.length > LINE_BYTES) {
      // Claude closes the connection on a longer line; no later attempt could do better.
      this.#ports.emit({
        type: "failed",
        deliveryIds: [deliveryId],
        failure: "message",
        reason: "longer than the 1 MiB that claude's session socket takes",
      });
      return;
    }
    this.#follower.handed(deliveryId);
    try {
      await writeToSocket(this.#socketPath, bytes);
    } catch (error) {
      this.#follower.forget(deliveryId);
      throw error;
    }
  }

  async probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    const asked: string[] = [];
    for (const id of deliveryIds) {
      if (this.#follower.open.has(id) && this.#activity !== "idle") {
        results.set(id, { state: "placed", evidence: "held by the running claude" });
      } else asked.push(id);
    }
    try {
      const sessionId = this.#launch.resume ?? this.#session?.sessionId;
      const path = sessionId === undefined
        ? null
        : await findTranscript(this.#launch.env, this.#launch.cwd, sessionId);
      for (const [id, result] of await probeTranscript(path, asked)) {
        if (result.state !== "absent") this.#follower.forget(id);
        results.set(id, result);
      }
    } catch (error) {
      for (const id of asked) results.set(id, { state: "unknown", reason: messageOf(error) });
    }
    return results;
  }

  /** A turn in the person's terminal is theirs to interrupt; there is no way for it but their keys. */
  interrupt(): Promise<void> {
    return Promise.resolve();
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    this.#ended = true;
    this.#cancelPoll();
    const status = await this.#child.stop({ graceMs: options.graceful ? options.timeoutMs : 0 });
    try {
      Deno.removeSync(this.#socketPath);
    } catch { /* claude removed it */ }
    this.#ports.log.debug("claude ended", { how: shown(status.signal ?? String(status.code)) });
    return status;
  }
}

/** A path in the agent's own 0700 directory, or in a fresh one where that is too long for a socket. */
function socketPathFor(stateDir: string): string {
  const path = join(stateDir, "claude.sock");
  if (new TextEncoder().encode(path).length <= SOCKET_PATH_BYTES) return path;
  return join(Deno.makeTempDirSync({ prefix: "relay-" }), "c.sock");
}

async function writeToSocket(path: string, bytes: Uint8Array): Promise<void> {
  const socket = await Deno.connect({ transport: "unix", path });
  try {
    for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
    await socket.closeWrite();
    // Claude answers nothing; it closes its side once it has read everything.
    await socket.read(new Uint8Array(1));
  } finally {
    socket.close();
  }
}

async function readFrom(path: string, from: number, to: number): Promise<string> {
  const file = await Deno.open(path);
  try {
    await file.seek(from, Deno.SeekMode.Start);
    const bytes = new Uint8Array(to - from);
    let at = 0;
    while (at < bytes.length) {
      const read = await file.read(bytes.subarray(at));
      if (read === null) break;
      at += read;
    }
    return new TextDecoder().decode(bytes.subarray(0, at));
  } finally {
    file.close();
  }
}
