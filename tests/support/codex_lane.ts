import { noLog } from "../../lib/base/log.ts";
import type { Journal, JournalRow } from "../../lib/inbox/contract.ts";
import type { ChildHandle, ExitStatus, Processes, SpawnOptions } from "../../lib/process/contract.ts";
import type { StatusPayload } from "../../lib/protocol/frames.ts";
import type { Message } from "../../lib/protocol/message.ts";
import { createCodexAdapter } from "../../lib/providers/codex/adapter.ts";
import { noBus, noHttp } from "../../lib/runner/no_relay.ts";
import { Runner } from "../../lib/runner/runner.ts";
import type { RelayBus } from "../../lib/sdk/contract.ts";
import { CONFIG, STORE } from "../runner/core_world.ts";
import {
  FakeAppServer,
  type FakeConnection,
  type FakeModel,
  serveFakeAppServer,
  ThreadStore,
} from "./fake_app_server.ts";
import type { PatientClock } from "./patient_clock.ts";
import { until } from "./temp.ts";

/** Mark of a message in its text. */
const MARK = /\bmark-\d+\b/g;

/** What a lane saw of one message. */
export interface Sighting {
  /** Turns in which the model put something out after it had the message. */
  answered: number;
  acked: boolean;
  /** The ack came before the model had said anything. */
  early: boolean;
}

/**
 * The production runner with the production Codex session, against a fake app-server on a real socket. What happens on
 * the runner's link goes through {@linkcode CodexLane.point}.
 */
export class CodexLane {
  readonly store = new ThreadStore();
  readonly seen = new Map<string, Sighting>();
  readonly statuses: StatusPayload[] = [];
  readonly runner: Runner;
  /** Called at every point of the runner's link. */
  point: (name: string, link: FakeConnection) => void = () => {};
  /** Makes the server hang on a frame of the runner's. */
  hang: (method: string) => "deaf" | "mute" | "half" | null = () => null;
  /** What the model does once it has answered nothing yet; the default does nothing. */
  beforeAnswer: (text: string) => Promise<void> = () => Promise.resolve();
  servers = 0;
  readonly #model: FakeModel;
  #server: FakeAppServer | null = null;
  #stop: (() => Promise<void>) | null = null;
  #ids = 0;
  readonly #loggedOut: boolean;
  #person: { id: number; ask(method: string, params: Record<string, unknown>): void } | null = null;

  constructor(
    options: {
      dir: string;
      clock: PatientClock;
      model: FakeModel;
      random(): number;
      /** What an earlier run left in the journal. */
      left?(store: ThreadStore): { open: JournalRow[]; resume: string };
      loggedOut?: boolean;
    },
  ) {
    this.#loggedOut = options.loggedOut === true;
    this.#model = async (turn) => {
      const marks = () => new Set(turn.text.match(MARK) ?? []);
      await this.beforeAnswer(turn.text);
      turn.signal.throwIfAborted();
      const end = await options.model(turn);
      if (turn.stored.items.some((item) => item.type !== "userMessage")) {
        for (const mark of marks()) this.#sighting(mark).answered++;
      }
      return end;
    };
    this.runner = new Runner({ ...CONFIG, provider: "codex", maxQueue: 1_000 }, {
      clock: options.clock,
      random: options.random,
      redact: (text) => text,
      afterReadyInput: (callback) => queueMicrotask(callback),
      log: noLog,
      bus: this.#bus(),
      http: noHttp,
      journal: memoryJournal(options.left?.(this.store)),
      adapter: createCodexAdapter(),
      processes: this.#processes(),
      monitor: { deliver: () => Promise.reject(new Error("no monitor")), watch: () => () => {} },
      launch: (start) => ({
        ...start,
        command: "codex",
        args: [],
        cwd: "/",
        env: {},
        approval: "guarded",
        headless: true,
        agentId: CONFIG.agentId,
        label: CONFIG.label,
        version: "test",
        stateDir: options.dir,
        conversation: "last",
        once: false,
        maxTurns: null,
        maxCostUsd: null,
        control: { url: "", hookToken: "" },
        self: (verb) => ({ command: "self", args: [verb] }),
        delivery: "auto",
      }),
      frame: (message) => message.body,
      output: () => {},
      stage: () => {},
      turn: () => {},
      ending: () => {},
      cpuMs: () => Promise.resolve(null),
      watchdog: () => {},
    });
  }

  /** Starts the runner, connected to its relay. */
  start(): void {
    this.runner.start();
    this.runner.post({ type: "bus.up", storeId: STORE });
  }

  /** Resolves once the agent is idle and takes messages. */
  untilIdle(): Promise<void> {
    const idle = () => this.status === "idle" && (this.#server?.running ?? 1) === 0;
    return until("an idle agent", idle, 120_000);
  }

  get status(): string {
    return this.runner.view().status.agentStatus;
  }

  /** Number of turns that really run. */
  get running(): number {
    return this.#server?.running ?? 0;
  }

  /** Sends a message and returns its mark. */
  send(body: string): string {
    const id = ++this.#ids;
    const mark = `mark-${id}`;
    this.#sighting(mark);
    const message: Message = {
      id,
      storeId: STORE,
      from: "alice",
      to: CONFIG.agentId,
      kind: "chat",
      body: `${mark} ${body}`,
      claimable: false,
      createdAt: 1,
    };
    this.runner.onMessage(message);
    return mark;
  }

  /** The person at another client does something on the runner's thread. */
  person(method: string, params: Record<string, unknown> = {}): void {
    const threadId = [...this.store.threads.keys()].at(-1);
    this.#person!.ask(method, { threadId, ...params });
  }

  /** The running turn, for an interrupt of the person's. */
  get turnId(): string | undefined {
    const thread = [...this.store.threads.values()].at(-1);
    return thread?.turns.findLast((turn) => turn.status === "inProgress")?.id;
  }

  async dispose(): Promise<void> {
    this.point = () => {};
    this.runner.post({ type: "signal", signal: "SIGTERM" });
    this.runner.post({ type: "signal", signal: "SIGTERM" });
    await this.runner.ended;
    await this.#stop?.();
  }

  #sighting(mark: string): Sighting {
    let sighting = this.seen.get(mark);
    if (sighting === undefined) this.seen.set(mark, sighting = { answered: 0, acked: false, early: false });
    return sighting;
  }

  #bus(): RelayBus {
    return {
      ...noBus,
      setStatus: (status) => void this.statuses.push(status),
      markRead: (ids) => {
        for (const id of ids) {
          const sighting = this.#sighting(`mark-${id}`);
          sighting.acked = true;
          const said = [...this.store.threads.values()].some(({ turns }) =>
            turns.some(({ items }) =>
              items.some((item) =>
                item.type === "userMessage" && item.content?.[0]?.text.startsWith(`mark-${id} `)
              ) &&
              items.some((item) => item.type !== "userMessage")
            )
          );
          // A text that has begun is no item of the record yet.
          if (!said && sighting.answered === 0 && this.running === 0) sighting.early = true;
        }
        return Promise.resolve({ ok: true, value: null });
      },
    };
  }

  #processes(): Processes {
    return {
      runId: "run",
      spawn: (options) => Promise.resolve(this.#spawn(options)),
      dispose: async () => await this.#stop?.(),
    };
  }

  #spawn({ args }: SpawnOptions): ChildHandle {
    this.servers++;
    const option = (name: string) => args[args.indexOf(name) + 1]!;
    let personId = -1;
    const server = this.#server = new FakeAppServer({
      store: this.store,
      model: this.#model,
      transientRefusals: true,
      loggedOut: this.#loggedOut,
      hang: (method, connection) => connection.id === personId ? null : this.hang(method),
      point: (name, connection) => connection.id === personId ? undefined : this.point(name, connection),
    });
    const person = server.connect({ send: () => {}, close: () => {} });
    personId = person.id;
    let asked = 0;
    const ask = (method: string, params: Record<string, unknown>) =>
      person.receive(JSON.stringify({ id: ++asked, method, params }));
    ask("initialize", { clientInfo: { name: "person", version: "1" } });
    this.#person = { id: personId, ask };
    const served = serveFakeAppServer(server, {
      port: Number(new URL(option("--listen")).port),
      tokenSha256: option("--ws-token-sha256"),
    });
    const exited = Promise.withResolvers<ExitStatus>();
    let over = false;
    const end = async (status: ExitStatus) => {
      if (over) return;
      over = true;
      await served.stop();
      this.store.crashed();
      exited.resolve(status);
    };
    this.#stop = () => end({ code: 137, signal: "SIGKILL" });
    let signals = 0;
    return {
      pid: 1,
      stderr: ReadableStream.from([new TextEncoder().encode(`  listening on: ${served.url}\n`)]),
      exited: exited.promise,
      signal: () => {
        if (++signals > 1) void end({ code: 0, signal: null });
        else void server.whenIdle().then(() => end({ code: 0, signal: null }));
        return true;
      },
      stop: async ({ graceMs }) => {
        if (graceMs === 0) await end({ code: 137, signal: "SIGKILL" });
        return await exited.promise;
      },
    };
  }
}

/** A journal that lasts as long as its runner, which is not what these tests are about. */
function memoryJournal(
  left: { open: JournalRow[]; resume: string | null } = { open: [], resume: null },
): Journal {
  const rows = new Map<string, JournalRow>();
  return {
    load: () => ({
      open: left.open,
      known: [],
      left: [],
      dead: [],
      commands: [],
      resume: left.resume,
      incarnation: 0,
      quarantined: [],
    }),
    write: (write) => {
      for (const row of write.rows) rows.set(row.key, row);
    },
    find: (key) => rows.get(key) ?? null,
    prune: () => false,
    close: () => {},
  };
}
