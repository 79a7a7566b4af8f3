import { dirname, join } from "@std/path";
import { RelayHttpClient } from "agent-relay-sdk";
import { readTokenFile } from "../../lib/config/token.ts";
import { processesWith } from "../support/runner_process.ts";
import { SeededRandom } from "../support/random.ts";
import { freePort, pause, until } from "../support/temp.ts";
import { ChaosAgent, type ProviderName, type Start, START_MARK, writeProviders } from "./agent.ts";
import { Poster } from "./poster.ts";
import { type Ended, mountTmpfs, Proc, processTable, unmount } from "./proc.ts";
import { Rival } from "./rival.ts";

/** How a world is set up. */
export interface WorldOptions {
  dir: string;
  name: string;
  seed: number;
  providers: readonly ProviderName[];
  leaseMs: number;
  /** Size of the file system of the claude agent's state; null for the ordinary disk. */
  smallDiskKiB: number | null;
  /** Size of the file system of the relay's database; the ordinary disk when it is not given. */
  relayDiskKiB?: number;
  /** Limit of open files of the first agent's runner. */
  openFiles?: number;
}

/** An interval in which an agent (or, with `null`, everybody) could not act. */
export interface Outage {
  agent: string | null;
  kind: string;
  from: number;
  to: number;
}

/** How one run of a runner ended, for the checker. */
export interface Exit {
  agent: string;
  mark: string;
  ended: Ended;
  /** Wall-clock time of the signals and commands that asked for it, oldest first. */
  asked: { at: number; how: string }[];
}

/** How long an operator's supervisor waits before it starts a runner again. */
const RESTART_MS = 100;
/** After a start, its left-overs must be gone by then; it takes a part of a second when the machine is quiet. */
const CLEANED_MS = 10_000;
/** Nothing of a run may be left so long after its runner died. */
const ORPHAN_MS = 5_000;

/** A relay, agents, a sender and a rival: everything that faults are done to. */
export class World {
  readonly random: SeededRandom;
  readonly agents: ChaosAgent[] = [];
  readonly outages: Outage[] = [];
  readonly exits: Exit[] = [];
  readonly orphans: string[] = [];
  readonly checks: Promise<void>[] = [];
  /** What went wrong beside the counted invariants. */
  readonly problems: string[] = [];
  /** Agents whose journal was damaged on purpose. */
  readonly damaged = new Set<string>();
  /** Ids of the lifecycle commands that were given. */
  readonly commands = new Set<string>();
  /** When agents were told to end over the bus. */
  readonly shutdowns: { agent: string; at: number }[] = [];
  readonly home: string;
  readonly relayPort = freePort();
  poster!: Poster;
  rival!: Rival;
  http!: RelayHttpClient;
  relay!: Proc;
  relayWanted = false;
  /** Largest resident memory by kind of process. */
  readonly maxRssKiB: Record<string, number> = {};
  #asked = new Map<string, { at: number; how: string }[]>();
  /** Starts whose guard was killed too: their left-overs are the next start's to clean. */
  readonly unguarded = new Set<string>();
  #env: Record<string, string>;
  #over = false;
  #mounted = false;
  readonly #ending = new AbortController();

  constructor(readonly options: WorldOptions) {
    this.random = new SeededRandom(options.seed);
    this.home = join(options.dir, "home");
    Deno.mkdirSync(join(this.home, "providers"), { recursive: true, mode: 0o700 });
    Deno.chmodSync(this.home, 0o700);
    writeProviders(this.home, join(options.dir, "agents"));
    this.#env = {
      PATH: Deno.env.get("PATH")!,
      HOME: options.dir,
      USER: "tester",
      AGENT_RELAY_HOME: this.home,
      ...(Deno.env.get("CHAOS_V8") === undefined ? {} : { DENO_V8_FLAGS: Deno.env.get("CHAOS_V8")! }),
      DENO_DIR: Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME")!, ".cache", "deno"),
    };
  }

  /** The relay's database, in a directory of its own. */
  get relayDb(): string {
    return join(this.options.dir, "relay", "relay.db");
  }

  /** True once the world ends. */
  get over(): boolean {
    return this.#over;
  }

  /** Brings everything up; resolves when all agents are ready. */
  async begin(): Promise<void> {
    const { dir, name, providers, smallDiskKiB } = this.options;
    Deno.mkdirSync(dirname(this.relayDb), { mode: 0o700 });
    const { relayDiskKiB } = this.options;
    if (relayDiskKiB !== undefined) this.#mounted = await mountTmpfs(dirname(this.relayDb), relayDiskKiB);
    await this.startRelay();
    const url = `http://127.0.0.1:${this.relayPort}`;
    const token = await readTokenFile(join(this.home, "relay.token"));
    this.http = new RelayHttpClient({ url, token });
    for (const [index, provider] of providers.entries()) {
      const agent = new ChaosAgent(
        {
          world: name,
          home: this.home,
          env: this.#env,
          relayPort: this.relayPort,
          random: this.random.fork().next,
        },
        provider,
        `${provider}${index}`,
      );
      this.agents.push(agent);
      if (provider === "claude" && smallDiskKiB !== null) await agent.mountState(smallDiskKiB);
      if (index === 0 && this.options.openFiles !== undefined) agent.openFiles = this.options.openFiles;
      this.startAgent(agent);
    }
    this.rival = new Rival({ url, token, dir, world: name, random: this.random.fork() });
    this.poster = new Poster({
      url,
      token,
      dir,
      world: name,
      targets: this.agents.map((agent) => agent.id),
      random: this.random.fork(),
    });
    await until(`all agents of ${name} to be ready`, () => this.ready(), 60_000);
  }

  async startRelay(): Promise<void> {
    this.relayWanted = true;
    this.relay = new Proc(
      [
        "relay",
        "--port",
        String(this.relayPort),
        "--json",
        "--claim-lease",
        `${this.options.leaseMs}ms`,
        "--db",
        this.relayDb,
      ],
      { cwd: this.options.dir, env: this.#env, errFile: join(this.options.dir, "relay.log") },
    );
    const { relay } = this;
    void relay.ended.then(async () => {
      if (this.#over || !this.relayWanted || relay !== this.relay) return;
      await pause(RESTART_MS, this.#ending.signal);
      if (!this.#over && this.relayWanted && relay === this.relay) await this.startRelay();
    });
    await until("the relay to serve", async () => !relay.alive || await this.#relayUp(), 30_000);
  }

  async #relayUp(): Promise<boolean> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.relayPort}/api/health`, {
        signal: AbortSignal.timeout(1_000),
      });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }

  /** Starts an agent's runner, watches over it as a supervisor does, and checks what it leaves behind. */
  startAgent(agent: ChaosAgent): Start {
    const before = agent.current;
    const start = agent.start();
    // A run that died together with its guard is cleaned up after by the next one, before that starts anything.
    if (before !== undefined && this.unguarded.has(before.mark)) {
      this.checks.push(this.#checkAfterStart(before.mark, start));
    }
    void start.proc.ended.then((ended) => this.#ended(agent, start, ended));
    return start;
  }

  async #ended(agent: ChaosAgent, start: Start, ended: Ended): Promise<void> {
    this.exits.push({
      agent: agent.id,
      mark: start.mark,
      ended,
      asked: this.#asked.get(start.mark) ?? [],
    });
    this.outage(agent.id, "down", ended.at, ended.at + 15_000);
    if (!this.unguarded.has(start.mark)) this.checks.push(this.#checkOrphans(start.mark, ended.at));
    if (this.#over || agent.current !== start) return;
    await pause(RESTART_MS, this.#ending.signal);
    if (!this.#over && agent.wanted && agent.current === start) this.startAgent(agent);
  }

  async #checkAfterStart(mark: string, next: Start): Promise<void> {
    const stop = new AbortController();
    void next.proc.ended.then(() => stop.abort());
    await pause(CLEANED_MS, AbortSignal.any([stop.signal, this.#ending.signal]));
    if (next.proc.alive) await this.#checkOrphans(mark, 0);
  }

  async #checkOrphans(mark: string, diedAt: number): Promise<void> {
    await pause(Math.max(0, diedAt + ORPHAN_MS - Date.now()), this.#ending.signal);
    if (this.#ending.signal.aborted) return;
    const left = await processesWith(`${START_MARK}=${mark}`);
    if (left.length === 0) return;
    const table = await processTable();
    const texts = table.filter((entry) => left.includes(entry.pid)).map((entry) =>
      `${entry.pid} ${entry.args}`
    );
    if (texts.length > 0) this.orphans.push(`${mark}: ${texts.join("; ").slice(0, 300)}`);
  }

  /** Resolves when nothing of a start is left; rejects when that takes longer than promised. */
  async untilNoOrphans(mark: string): Promise<void> {
    const left = () => processesWith(`${START_MARK}=${mark}`);
    await until(`the end of what ${mark} started`, async () => (await left()).length === 0, ORPHAN_MS);
  }

  /** Notes that a runner was asked to end. */
  asked(agent: ChaosAgent, how: string): void {
    const mark = agent.current?.mark;
    if (mark === undefined) return;
    this.#asked.set(mark, [...this.#asked.get(mark) ?? [], { at: Date.now(), how }]);
  }

  outage(agent: string | null, kind: string, from: number, to: number): void {
    this.outages.push({ agent, kind, from, to });
  }

  /** True when every agent that should be there is ready on the bus. */
  async ready(): Promise<boolean> {
    const cards = await this.http.listAgents();
    if (!cards.ok) return false;
    const isReady = (id: string) => cards.value.some((card) => card.id === id && card.ready);
    return this.agents.every((agent) => isReady(agent.id));
  }

  /** True when this agent is ready on the bus. */
  async isReady(agentId: string): Promise<boolean> {
    const card = await this.http.getAgent(agentId);
    return card.ok && card.value.ready;
  }

  /** What the bus says of the agents, for the message of a failure. */
  async cards(): Promise<string> {
    const cards = await this.http.listAgents();
    return JSON.stringify(
      cards.ok ? cards.value.map(({ id, status, ready, meta }) => ({ id, status, ready, meta })) : cards,
    );
  }

  /** Cards that say two things at once. */
  async contradictions(): Promise<string[]> {
    const cards = await this.http.listAgents();
    if (!cards.ok) return [];
    return cards.value.filter((card) =>
      card.ready && (card.status === "error" || card.status === "offline" || card.status === "stale")
    )
      .map((card) => `contradiction: ${card.id} is ${card.status} and ready`);
  }

  /** Messages that are not closed yet, by agent. */
  async openMail(): Promise<{ agent: string; ids: number[] }[] | null> {
    const open: { agent: string; ids: number[] }[] = [];
    for (const agent of [...this.agents.map((each) => each.id), this.rival.id]) {
      const unread = await this.http.listUnread(agent, { limit: 1_000 });
      if (!unread.ok) return null;
      const ids: number[] = [];
      for (const { id } of unread.value) if (!await this.#isDead(id, agent)) ids.push(id);
      if (ids.length > 0) open.push({ agent, ids });
    }
    return open;
  }

  /** A dead letter has ended too: it waits for a person. */
  async #isDead(id: number, agent: string): Promise<boolean> {
    const receipt = await this.http.receipt(id);
    return receipt.ok &&
      receipt.value.recipients.some((each) =>
        each.agentId === agent && each.reports.some((report) => report.stage === "dead")
      );
  }

  /** Looks at the memory of the relay and of the runners. */
  async sampleMemory(): Promise<void> {
    const names = new Map([[this.relay.pid, "relay"]]);
    for (const agent of this.agents) {
      if (agent.current !== undefined) names.set(agent.current.proc.pid, agent.provider);
    }
    for (const entry of await processTable()) {
      const name = names.get(entry.pid);
      if (name !== undefined && entry.rssKiB > (this.maxRssKiB[name] ?? 0)) {
        this.maxRssKiB[name] = entry.rssKiB;
      }
    }
  }

  /** Ends everything in order; the relay's database is left for the checker. */
  async end(): Promise<void> {
    await Promise.all(this.agents.map((agent) => {
      this.asked(agent, "SIGTERM");
      return agent.stop();
    }));
    await this.rival.close();
    this.#over = true;
    this.relayWanted = false;
    this.relay.signal("SIGTERM");
    await this.relay.ended;
    await Promise.all(this.checks);
    this.poster.close();
  }

  /** Ends whatever is left, at once. */
  async dispose(): Promise<void> {
    this.#over = true;
    this.relayWanted = false;
    this.#ending.abort();
    for (const agent of this.agents) await agent.dispose();
    await this.rival?.close();
    this.poster?.close();
    if (this.relay?.alive) {
      this.relay.signal("SIGKILL");
      await this.relay.ended;
    }
    if (this.#mounted) await unmount(dirname(this.relayDb));
    for (const agent of this.agents) {
      for (const start of agent.starts) {
        for (const pid of await processesWith(`${START_MARK}=${start.mark}`)) {
          try {
            Deno.kill(pid, "SIGKILL");
          } catch { /* gone */ }
        }
      }
    }
  }
}
