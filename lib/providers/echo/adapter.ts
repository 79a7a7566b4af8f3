import { join } from "@std/path";
import { lineBatches } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import type { ChildHandle, ExitStatus } from "../../process/contract.ts";
import type {
  Delivery,
  ProbeResult,
  ProviderAdapter,
  ProviderLaunch,
  ProviderPorts,
  ProviderSession,
} from "../contract.ts";
import { ECHO_LINE_LIMIT, ECHO_RECORD, type EchoInput, type EchoOutput, SEEN } from "./protocol.ts";

/** The provider that needs no agent: a child process of this very executable that echoes. */
export const echoAdapter: ProviderAdapter = {
  provider: "echo",
  window: 64,
  buildSpawnArgs: (launch) => [...launch.args, join(launch.stateDir, ECHO_RECORD)],
  spawn: (launch, ports) => EchoSession.start(launch, ports),
};

class EchoSession implements ProviderSession {
  readonly #child: ChildHandle;
  readonly #ports: ProviderPorts;
  readonly #recordPath: string;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly exited: Promise<ExitStatus>;
  /** Deliveries that were written to the agent and have not ended. */
  readonly #open = new Set<string>();
  /** Lines that go out together, and their way out. */
  #waiting = "";
  #writing: Promise<void> | null = null;

  static async start(launch: ProviderLaunch, ports: ProviderPorts): Promise<EchoSession> {
    const child = await ports.processes.spawn({
      command: launch.command,
      args: echoAdapter.buildSpawnArgs(launch),
      cwd: launch.cwd,
      env: launch.env,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      ownGroup: true,
    });
    return new EchoSession(child, ports, join(launch.stateDir, ECHO_RECORD));
  }

  private constructor(child: ChildHandle, ports: ProviderPorts, recordPath: string) {
    this.#child = child;
    this.#ports = ports;
    this.#recordPath = recordPath;
    this.#writer = child.stdin!.getWriter();
    // The end of the child is told after its last words were read, so that no evidence is lost.
    const read = this.#read(child.stdout!).catch((error) =>
      ports.log.warn("echo output cannot be read", { error: messageOf(error) })
    );
    this.exited = child.exited.then(async (status) => {
      await read;
      return status;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  async #read(stdout: ReadableStream<Uint8Array>): Promise<void> {
    for await (const batch of lineBatches(stdout, { maxLineBytes: ECHO_LINE_LIMIT })) {
      for (const line of batch) if (line.kind === "line") this.#handle(JSON.parse(line.text) as EchoOutput);
    }
  }

  #handle(message: EchoOutput): void {
    const { emit } = this.#ports;
    switch (message.type) {
      case "ready":
        return emit({ type: "ready", resume: null });
      case "placed":
      case "seen":
        return emit({
          type: "evidence",
          deliveryId: message.deliveryId,
          stage: message.type,
          evidence: message.type === "placed" ? "echo agent took the line" : "echo agent began its answer",
        });
      case "turn":
        return emit({ type: "turn" });
      case "done":
        emit({ type: "output", text: message.text + "\n" });
        emit({
          type: "done",
          deliveryIds: [message.deliveryId],
          text: message.text,
          evidence: "echo agent ended its answer",
          ...(message.costUsd === undefined ? {} : { costUsd: message.costUsd }),
        });
        return this.#ended(message.deliveryId);
      case "failed":
        emit({
          type: "failed",
          deliveryIds: [message.deliveryId],
          failure: message.failure,
          reason: message.reason,
        });
        return this.#ended(message.deliveryId);
    }
  }

  #ended(deliveryId: string): void {
    if (this.#open.delete(deliveryId) && this.#open.size === 0) {
      this.#ports.emit({ type: "activity", activity: "idle" });
    }
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#open.size === 0) this.#ports.emit({ type: "activity", activity: "busy" });
    this.#open.add(delivery.deliveryId);
    await this.#write({ type: "deliver", deliveryId: delivery.deliveryId, text: delivery.text });
  }

  #write(input: EchoInput): Promise<void> {
    this.#waiting += JSON.stringify(input) + "\n";
    return this.#writing ??= this.#flush();
  }

  /** A window of deliveries is handed over in one go, and is one write. */
  async #flush(): Promise<void> {
    await null;
    const text = this.#waiting;
    this.#waiting = "";
    this.#writing = null;
    await this.#writer.write(this.#encoder.encode(text));
  }

  async probe(deliveryIds: string[]): Promise<Map<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    let handled: Set<string> | null = null;
    let reason = "";
    try {
      handled = new Set((await Deno.readTextFile(this.#recordPath)).split("\n"));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) handled = new Set();
      else reason = messageOf(error);
    }
    for (const id of deliveryIds) {
      if (handled === null) results.set(id, { state: "unknown", reason });
      else if (handled.has(id)) {
        results.set(id, { state: "done", evidence: "record of the echo agent", text: "" });
      } else if (handled.has(SEEN + id)) {
        results.set(id, { state: "seen", evidence: "record of the echo agent" });
      } else if (this.#open.has(id)) {
        // Its input is read in order, so that what waits there behind others is in no record yet.
        results.set(id, { state: "placed", evidence: "in the input of the echo agent" });
      } else results.set(id, { state: "absent" });
    }
    return results;
  }

  async interrupt(): Promise<void> {
    if (this.#open.size > 0) await this.#write({ type: "interrupt" }).catch(() => {});
  }

  async shutdown(options: { graceful: boolean; timeoutMs: number }): Promise<ExitStatus> {
    if (options.graceful) {
      await this.interrupt();
      await this.#write({ type: "stop" }).catch(() => {});
    }
    const status = await this.#child.stop({ graceMs: options.graceful ? options.timeoutMs : 0 });
    await this.#writer.close().catch(() => {});
    return status;
  }
}
