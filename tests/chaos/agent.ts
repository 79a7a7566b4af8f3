import { join } from "@std/path";
import { AGENT_DIR, type Behaviour, setBehaviour, writeCommand } from "../support/fake_agent.ts";
import { type AgentRecord, OracleTail, readOracle } from "../support/oracle.ts";
import { ToxicProxy } from "../support/toxic_proxy.ts";
import { descendants, type Ended, mountTmpfs, Proc, processTable, unmount } from "./proc.ts";

/** Providers that take part; all headless. */
export type ProviderName = "claude" | "codex" | "echo";

/** Marks every process of one start, whatever the product marks. */
export const START_MARK = "CHAOS_START";
/** Two runs beside each other must not take each other's processes for their own. */
const RUN = crypto.randomUUID().slice(0, 8);

/** Turns long enough to be hit by something. */
const USUAL: Partial<Behaviour> = { placedMs: 20, seenMs: 60, doneMs: 120 };

/** Where an agent lives and how it is run. */
export interface AgentPlace {
  world: string;
  home: string;
  env: Record<string, string>;
  relayPort: number;
  random: () => number;
}

/** What a runner has below it: its guard, the command it started (a wrapper), the agent itself, and their children. */
export interface Tree {
  guard: number | null;
  provider: number | null;
  agent: number | null;
  others: number[];
}

/** Name of a process in the tree. */
export type TreePart = "guard" | "provider" | "agent" | "other";

/** One start of the runner. */
export interface Start {
  mark: string;
  proc: Proc;
  readyAt: number | null;
}

/** One agent: its runner process as an operator would keep it, its line to the relay, its scripted provider. */
export class ChaosAgent {
  readonly id: string;
  readonly dir: string;
  readonly cwd: string;
  readonly proxy: ToxicProxy;
  readonly stateDir: string;
  readonly starts: Start[] = [];
  readonly #extra: string[];
  readonly #tail: OracleTail;
  openFiles: number | undefined;
  /** False while a fault wants the runner to stay down. */
  wanted = false;
  mounted = false;

  constructor(readonly place: AgentPlace, readonly provider: ProviderName, name: string) {
    this.id = `${place.world}-${name}`;
    this.dir = join(place.home, "..", "agents", name);
    this.cwd = join(this.dir, "work");
    this.stateDir = join(place.home, "state", this.id);
    Deno.mkdirSync(this.cwd, { recursive: true });
    this.proxy = new ToxicProxy(place.relayPort, place.random);
    this.#extra = ["--label", name, "--agent-id", this.id, "--drain-timeout", "2s"];
    this.behave();
    this.#tail = new OracleTail(join(this.dir, "oracle.jsonl"));
    Deno.mkdirSync(join(this.dir, "codex"));
  }

  /** Takes the agent's state onto a small file system, so that it can be filled. False where that is not permitted. */
  async mountState(sizeKiB: number): Promise<boolean> {
    Deno.mkdirSync(this.stateDir, { recursive: true, mode: 0o700 });
    this.mounted = await mountTmpfs(this.stateDir, sizeKiB);
    return this.mounted;
  }

  /** The command line of the runner. */
  arguments(): string[] {
    const url = `http://127.0.0.1:${this.proxy.port}`;
    return [this.provider, "--headless", "--relay-url", url, "--log-level", "debug", ...this.#extra];
  }

  /** The environment of one start. */
  environment(mark: string): Record<string, string> {
    return {
      ...this.place.env,
      [START_MARK]: mark,
      [AGENT_DIR]: this.dir,
      CODEX_HOME: join(this.dir, "codex"),
    };
  }

  /** Starts the runner. */
  start(): Start {
    // With an end of its own: the mark of start 2 must not be found in that of start 20.
    const mark = `${RUN}-${this.id}#${this.starts.length}.`;
    const proc = new Proc(this.arguments(), {
      cwd: this.cwd,
      env: this.environment(mark),
      errFile: join(this.dir, "stderr.log"),
      ...(this.openFiles === undefined ? {} : { openFiles: this.openFiles }),
    });
    const start: Start = { mark, proc, readyAt: null };
    this.starts.push(start);
    this.wanted = true;
    return start;
  }

  get current(): Start | undefined {
    return this.starts.at(-1);
  }

  get alive(): boolean {
    return this.current?.proc.alive === true;
  }

  /** Makes the provider behave; as usual when nothing else is said. */
  behave(change: Partial<Behaviour> = {}): void {
    setBehaviour(this.dir, { ...USUAL, ...change });
  }

  /** Resolves once the provider has a message, or when that takes too long. */
  async untilInFlight(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.provider !== "echo" && this.#tail.inFlight() === 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** What the provider itself wrote down. */
  oracle(): AgentRecord[] {
    return readOracle(join(this.dir, "oracle.jsonl"));
  }

  /** The processes below the runner. */
  async tree(): Promise<Tree> {
    const none: Tree = { guard: null, provider: null, agent: null, others: [] };
    const pid = this.current?.proc.pid;
    if (pid === undefined || !this.alive) return none;
    const table = await processTable();
    const children = table.filter((entry) => entry.ppid === pid);
    const guard = children.find((entry) => /relay-guard/.test(entry.args))?.pid ?? null;
    const provider = children.find((entry) => entry.pid !== guard)?.pid ?? null;
    if (provider === null) return { ...none, guard };
    const below = descendants(table, provider);
    const agent = below.find((entry) => /\bdeno run .*fake_\w+\.ts/.test(entry.args))?.pid ?? null;
    const others = below.map((entry) => entry.pid).filter((each) => each !== agent);
    return { guard, provider, agent: agent ?? (this.provider === "echo" ? provider : null), others };
  }

  /** One process of the tree; null when it is not there. */
  async find(what: TreePart): Promise<number | null> {
    const tree = await this.tree();
    if (what !== "other") return tree[what];
    return tree.others[Math.floor(this.place.random() * tree.others.length)] ?? null;
  }

  /** Ends the runner for good. */
  async stop(): Promise<Ended | null> {
    this.wanted = false;
    const proc = this.current?.proc;
    if (proc === undefined) return null;
    proc.signal("SIGCONT");
    proc.signal("SIGTERM");
    const timer = setTimeout(() => proc.signal("SIGKILL"), 20_000);
    const ended = await proc.ended;
    clearTimeout(timer);
    return ended;
  }

  async dispose(): Promise<void> {
    this.wanted = false;
    if (this.alive) {
      this.current!.proc.signal("SIGKILL");
      await this.current!.proc.ended;
    }
    this.proxy.close();
    if (this.mounted) await unmount(this.stateDir);
  }
}

/** Writes the provider files of a home. */
export function writeProviders(home: string, agentsDir: string): void {
  const script = (name: string) => new URL(`../support/fake_${name}.ts`, import.meta.url).pathname;
  Deno.mkdirSync(agentsDir, { recursive: true });
  Deno.mkdirSync(join(home, "providers"), { recursive: true, mode: 0o700 });
  const common = { passEnv: [START_MARK, AGENT_DIR], headless: { shutdownTimeoutMs: 3_000 } };
  for (const name of ["claude", "codex"]) {
    const command = join(agentsDir, `fake-${name}`);
    writeCommand(command, script(name), { tree: true });
    Deno.writeTextFileSync(
      join(home, "providers", `${name}.json`),
      JSON.stringify({ ...common, command, defaultTags: ["work"] }),
      { mode: 0o600 },
    );
  }
  Deno.writeTextFileSync(
    join(home, "providers", "echo.json"),
    JSON.stringify({ ...common, defaultTags: ["work"] }),
    { mode: 0o600 },
  );
}
