import { lines } from "../../base/bytes.ts";
import { TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import { isRecord } from "../../protocol/codec.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import { wholeReason } from "../reason.ts";
import { ConversationMemory } from "../conversation_memory.ts";
import type {
  Delivery,
  ProbeResult,
  ProviderExit,
  ProviderLaunch,
  ProviderPorts,
  ProviderSession,
} from "../contract.ts";
import { LastWords } from "../last_words.ts";
import { headlessArguments, settingsOf } from "./arguments.ts";
import { conversationFor, type ConversationStart } from "./conversation.ts";
import { unpackPlugin } from "./plugin.ts";
import { mergedSettings, writeSettings } from "./settings_file.ts";
import { ClaudeStream, type StreamRecord } from "./stream.ts";
import { claudeVersion } from "./version.ts";
import { probeTranscripts } from "./transcript.ts";

const LINE_LIMIT = 64 * 1024 * 1024;
const INTERRUPT_MS = 2_000;
const END_SESSION_MS = 2_000;
/** A cancelled or completed delivery whose result did not come in this time has none. */
const RESULT_MS = 2_000;
const PRIORITY = { now: "now", next: "next", idle: "later" } as const;

/** A headless Claude Code (2.1.330): stream-json both ways, one process for any number of turns. */
export class HeadlessClaude implements ProviderSession {
  readonly #child: ChildHandle;
  readonly #launch: ProviderLaunch;
  readonly #ports: ProviderPorts;
  readonly #stream: ClaudeStream;
  readonly #sessionId: string;
  readonly #memory: ConversationMemory;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly #controls = new Map<string, () => void>();
  readonly exited: Promise<ProviderExit>;
  #controlId = 0;
  readonly #lastWords = new LastWords();

  static async start(launch: ProviderLaunch, ports: ProviderPorts): Promise<HeadlessClaude> {
    const conversation = await conversationFor(launch);
    const version = await claudeVersion(launch, ports.clock);
    const settingsFile = writeSettings(launch, mergedSettings(launch, [settingsOf(launch)]));
    const child = await ports.processes.spawn({
      command: launch.command,
      args: [
        ...headlessArguments(launch, conversation, settingsFile, version),
        "--plugin-dir",
        unpackPlugin(launch, { monitor: false, tools: launch.tools !== undefined }),
      ],
      cwd: launch.cwd,
      env: { ...launch.env, CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ownGroup: true,
    });
    return new HeadlessClaude(child, launch, ports, conversation);
  }

  private constructor(
    child: ChildHandle,
    launch: ProviderLaunch,
    ports: ProviderPorts,
    conversation: ConversationStart,
  ) {
    this.#child = child;
    this.#launch = launch;
    this.#ports = ports;
    this.#sessionId = conversation.sessionId;
    this.#memory = new ConversationMemory(launch.stateDir);
    const { sessionId } = conversation;
    this.#stream = new ClaudeStream((event) => ports.emit(event), sessionId);
    this.#writer = child.stdin!.getWriter();
    const output = this.#readOutput(child.stdout!);
    const errors = this.#readErrors(child.stderr!);
    this.exited = child.exited.then(async (status) => {
      await Promise.allSettled([output, errors]);
      for (const settle of this.#controls.values()) settle();
      const lastWords = this.#lastWords.text;
      return status.code === 0 || lastWords === "" ? status : { ...status, lastWords };
    });
    // Nothing is printed before the first message; the answer to `initialize` says that it listens.
    this.#control({ subtype: "initialize" }).then((answered) => {
      // Told before the first delivery, so that it is on disk by then: whoever takes over looks in its transcript.
      if (answered) ports.emit({ type: "ready", resume: sessionId });
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  async #readOutput(stdout: ReadableStream<Uint8Array>): Promise<void> {
    try {
      for await (const line of lines(stdout, { maxLineBytes: LINE_LIMIT })) {
        if (line.kind === "line") this.#take(line.text);
        else this.#ports.log.warn("a line of claude was too long", { bytes: line.bytes });
      }
    } catch (error) {
      this.#ports.log.warn("claude's output cannot be read", { error: messageOf(error) });
    }
  }

  async #readErrors(stderr: ReadableStream<Uint8Array>): Promise<void> {
    try {
      for await (const line of lines(stderr, { maxLineBytes: 64 * 1024 })) {
        if (line.kind !== "line" || line.text.trim() === "") continue;
        this.#lastWords.take(line.text);
        this.#ports.log.debug("claude stderr", { line: line.text });
      }
    } catch { /* the process ended */ }
  }

  #take(text: string): void {
    let record: unknown;
    try {
      record = JSON.parse(text);
    } catch {
      return this.#ports.log.debug("claude wrote a line that is not JSON", {
        line: wholeReason(text),
      });
    }
    if (!isRecord(record)) return;
    try {
      if (record.type === "control_request") return this.#permission(record);
      if (record.type === "control_response") return this.#controlAnswered(record);
      this.#stream.take(record as StreamRecord);
      if (record.type === "command_lifecycle") this.#awaitResult(record as StreamRecord);
    } catch (error) {
      // A record of an unknown shape must not end the reading of all later ones.
      this.#ports.log.warn("a record of claude cannot be understood", {
        type: String(record.type),
        error: messageOf(error),
      });
    }
  }

  /** A delivery that ended without any result was answered from the transcript or withdrawn: it has failed. */
  #awaitResult({ command_uuid: id, state }: StreamRecord): void {
    if (id === undefined || (state !== "completed" && state !== "cancelled")) return;
    const cancel = this.#ports.clock.setTimer(RESULT_MS, () => {
      if (!this.#stream.has(id)) return;
      const how = state === "completed"
        ? "claude had the message already and did not run it"
        : "claude cancelled it";
      this.#stream.take({ type: "command_lifecycle", command_uuid: id, state: "discarded" });
      this.#ports.log.debug("delivery without a turn", { how });
    });
    void this.exited.then(cancel);
  }

  /** Nobody can be asked in a headless run: the model is told so at once and goes on (S-13). */
  #permission(record: Record<string, unknown>): void {
    const request = record.request as { subtype?: string; tool_name?: string } | undefined;
    const id = record.request_id;
    const tool = String(request?.tool_name ?? "a tool");
    const response = request?.subtype === "can_use_tool"
      ? {
        subtype: "success",
        request_id: id,
        response: {
          behavior: "deny",
          message:
            `${tool} needs an approval and nobody can be asked; go on without it, or say what you need.`,
        },
      }
      : { subtype: "error", request_id: id, error: "unsupported request" };
    this.#ports.log.warn("declined, nobody can approve", { tool });
    void this.#write({ type: "control_response", response }).catch(() => {});
  }

  #controlAnswered(record: Record<string, unknown>): void {
    const { request_id: id } = record.response as { request_id?: string };
    if (id !== undefined) this.#controls.get(id)?.();
  }

  /** Sends a control request; resolves true when it was answered, false when the process ended first. */
  async #control(request: Record<string, unknown>): Promise<boolean> {
    const id = `relay-${++this.#controlId}`;
    let answered = false;
    const answer = new Promise<void>((resolve) => {
      this.#controls.set(id, () => {
        this.#controls.delete(id);
        resolve();
      });
    });
    void this.#child.exited.then(() => this.#controls.get(id)?.());
    await this.#write({ type: "control_request", request_id: id, request }).catch(() => {});
    const gone = this.#child.exited.then(() => false);
    answered = await Promise.race([answer.then(() => true), gone]);
    this.#controls.delete(id);
    return answered;
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { deliveryId, text, when } = delivery;
    this.#memory.note(this.#sessionId);
    this.#stream.handed(deliveryId, text);
    try {
      await aborted(
        this.#write({
          type: "user",
          uuid: deliveryId,
          priority: PRIORITY[when],
          session_id: this.#sessionId,
          message: { role: "user", content: text },
        }),
        signal,
      );
    } catch (error) {
      this.#stream.notHanded(deliveryId);
      throw error;
    }
  }

  #write(value: unknown): Promise<void> {
    return this.#writer.write(this.#encoder.encode(JSON.stringify(value) + "\n"));
  }

  async probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    const earlier: string[] = [];
    for (const id of deliveryIds) {
      // This process has it and its turn has not ended: it will tell.
      if (this.#stream.has(id) && this.#stream.activity !== "idle") {
        results.set(id, { state: "placed", evidence: "held by the running claude" });
      } else earlier.push(id);
    }
    if (earlier.length === 0) return results;
    try {
      const conversations = new Set([this.#sessionId, ...this.#memory.ids]);
      for (const [id, result] of await probeTranscripts(this.#launch, conversations, earlier)) {
        results.set(id, result);
      }
    } catch (error) {
      for (const id of earlier) results.set(id, { state: "unknown", reason: messageOf(error) });
    }
    return results;
  }

  async interrupt(): Promise<void> {
    if (this.#stream.activity === "idle") return;
    await withDeadline(this.#ports.clock, INTERRUPT_MS, this.#control({ subtype: "interrupt" }));
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    if (options.graceful) {
      await this.interrupt();
      void this.#control({ subtype: "end_session" });
      const waitMs = Math.min(END_SESSION_MS, options.timeoutMs);
      if (await withDeadline(this.#ports.clock, waitMs, this.#child.exited) === TIMED_OUT) {
        this.#ports.log.debug("claude did not end its session in time");
      }
    }
    const status = await this.#child.stop({ graceMs: options.graceful ? options.timeoutMs : 0 });
    await this.#writer.abort().catch(() => {});
    return status;
  }
}

/** Rejects with the signal's reason when it aborts before the promise settles. */
async function aborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  let onAbort = () => {};
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await Promise.race([promise, abort]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    promise.catch(() => {});
  }
}
