import { join } from "@std/path";
import { type Behaviour, setLink } from "../support/fake_agent.ts";
import type { SeededRandom } from "../support/random.ts";
import { type Toxic, TOXICS } from "../support/toxic_proxy.ts";
import type { ChaosAgent, TreePart } from "./agent.ts";
import { kill, Proc, remount } from "./proc.ts";
import type { World } from "./world.ts";

/** What a fault works with. */
export interface FaultContext {
  world: World;
  agent: ChaosAgent;
  random: SeededRandom;
  /** Longest time something stays broken. */
  maxMs: number;
  /** Resolves after the time, or at once when the world is healed. */
  hold(ms: number): Promise<void>;
  /** Notes the violent end of something of the agent, for the bounds of duplicates. */
  crashed(what: string): void;
}

/** One kind of fault. `run` breaks something, mends it again and says whether it really did so. */
export interface Fault {
  kind: string;
  weight: number;
  /** What is occupied meanwhile: two faults of one place would hide each other. */
  place: "agent" | "relay" | "line" | "link" | "provider";
  /** False where the world has not what it needs. */
  fits?(world: World, agent: ChaosAgent): boolean;
  run(context: FaultContext): Promise<boolean>;
}

export function stopTime({ random, maxMs }: FaultContext): number {
  // Most pauses are short, some are as long as allowed.
  return Math.min(maxMs, 100 * Math.exp(random.between(0, Math.log(maxMs / 100))));
}

/** Most kills are aimed at a moment in which the provider has a message. */
export async function aim({ agent, random }: FaultContext): Promise<void> {
  if (random.chance(0.7)) await agent.untilInFlight(3_000);
  await new Promise((resolve) => setTimeout(resolve, random.between(0, 150)));
}

export async function killRunner(context: FaultContext): Promise<boolean> {
  const { world, agent, crashed } = context;
  await aim(context);
  if (!agent.alive) return false;
  crashed("runner");
  world.asked(agent, "SIGKILL");
  return agent.current!.proc.signal("SIGKILL");
}

export function killBelow(what: TreePart): Fault["run"] {
  return async (context) => {
    const { agent, crashed } = context;
    if (what !== "guard") await aim(context);
    const pid = await agent.find(what);
    if (pid === null) return false;
    if (what === "provider" || what === "agent") crashed(what);
    return kill(pid, "SIGKILL");
  };
}

export function stopProcess(what: TreePart | "runner"): Fault["run"] {
  return async (context) => {
    const { world, agent, hold } = context;
    const pid = what === "runner" ? agent.current?.proc.pid ?? null : await agent.find(what);
    if (pid === null || !agent.alive || !kill(pid, "SIGSTOP")) return false;
    const from = Date.now();
    await hold(stopTime(context));
    kill(pid, "SIGCONT");
    world.outage(agent.id, what === "runner" ? "stopped" : `stopped ${what}`, from, Date.now() + 1_000);
    return true;
  };
}

export function signalRunner(...signals: Deno.Signal[]): Fault["run"] {
  return async ({ world, agent, random, hold, crashed }) => {
    const start = agent.current;
    if (start === undefined || !agent.alive) return false;
    for (const [index, signal] of signals.entries()) {
      if (index > 0) {
        await hold(random.between(0, 1_500));
        // A second signal cuts the turn that the first one let finish.
        crashed("runner");
      }
      if (start.proc.signal(signal)) world.asked(agent, signal);
    }
    return true;
  };
}

function toxicOf(kind: (typeof TOXICS)[number], random: SeededRandom): Toxic {
  switch (kind) {
    case "latency":
      return { kind, ms: random.int(20, 1_000), jitterMs: random.int(0, 500) };
    case "bandwidth":
      return { kind, rate: random.int(2_000, 100_000) };
    case "slow_close":
      return { kind, ms: random.int(100, 2_000) };
    case "limit_data":
      return { kind, bytes: random.int(100, 20_000) };
    case "duplicate":
      return { kind, every: random.int(1, 3) };
    default:
      return { kind };
  }
}

export function toxic(kind: (typeof TOXICS)[number]): Fault["run"] {
  return async (context) => {
    const { world, agent, random, hold } = context;
    const from = Date.now();
    agent.proxy.set(toxicOf(kind, random));
    await hold(stopTime(context));
    agent.proxy.set({ kind: "none" });
    if (kind === "slow_close" || kind === "slicer") agent.proxy.cut();
    world.outage(agent.id, `line ${kind}`, from, Date.now() + 12_000);
    return true;
  };
}

/** The same on the line between the runner and Codex's app-server. */
export function linkToxic(kind: (typeof TOXICS)[number]): Fault["run"] {
  return async (context) => {
    const { world, agent, random, hold } = context;
    const from = Date.now();
    setLink(agent.dir, toxicOf(kind, random));
    await hold(stopTime(context));
    setLink(agent.dir, { kind: "none" });
    world.outage(agent.id, `link ${kind}`, from, Date.now() + 12_000);
    return true;
  };
}

export function relayFault(work: (context: FaultContext) => Promise<void>): Fault["run"] {
  return async (context) => {
    const { world } = context;
    if (!world.relay.alive) return false;
    const from = Date.now();
    await work(context);
    world.outage(null, "relay", from, Date.now() + 12_000);
    return true;
  };
}

export function command(type: "agent.restart" | "agent.shutdown" | "agent.kill"): Fault["run"] {
  return async ({ world, agent, crashed }) => {
    const start = agent.current;
    if (start === undefined || !agent.alive) return false;
    if (type === "agent.kill") crashed("runner");
    // It may reach the run after this one, when this one is dying.
    if (type !== "agent.restart") {
      world.asked(agent, type);
      world.shutdowns.push({ agent: agent.id, at: Date.now() });
    }
    const created = await world.http.createCommand({ type, target: agent.id, ttlMs: 5_000 });
    if (!created.ok) return false;
    world.commands.add(created.value.id);
    return true;
  };
}

export function behaviour(change: (random: SeededRandom) => Partial<Behaviour>): Fault["run"] {
  return async ({ world, agent, random, maxMs, hold, crashed }) => {
    const chosen = change(random);
    const from = Date.now();
    agent.behave(chosen);
    await hold(random.between(1_000, Math.max(2_000, maxMs)));
    agent.behave();
    if (chosen.crashEvery !== undefined || chosen.hangEvery !== undefined || chosen.failure === "401") {
      // A turn that hangs ends with its process only, and a login is mended by a person who starts the agent anew.
      crashed("provider");
      const pid = await agent.find("agent");
      if (pid !== null) kill(pid, "SIGKILL");
    }
    world.outage(agent.id, "provider", from, Date.now() + 10_000);
    return true;
  };
}

/** Restarts a dead runner with something done to its state in between. */
export function whileDown(work: (context: FaultContext) => Promise<void>): Fault["run"] {
  return async (context) => {
    const { world, agent, crashed } = context;
    const start = agent.current;
    if (start === undefined || !start.proc.alive) return false;
    agent.wanted = false;
    crashed("runner");
    world.asked(agent, "SIGKILL");
    start.proc.signal("SIGKILL");
    await start.proc.ended;
    await work(context);
    if (!world.over) world.startAgent(agent);
    return true;
  };
}

export function flipBits({ agent, random, world }: FaultContext): Promise<void> {
  const path = join(agent.stateDir, random.chance(0.7) ? "journal.db" : "journal.db-wal");
  try {
    const file = Deno.openSync(path, { read: true, write: true });
    const { size } = file.statSync();
    if (size > 0) {
      const at = random.int(0, size - 1);
      const byte = new Uint8Array(1);
      file.seekSync(at, Deno.SeekMode.Start);
      file.readSync(byte);
      byte[0]! ^= 1 << random.int(0, 7);
      file.seekSync(at, Deno.SeekMode.Start);
      file.writeSync(byte);
      world.damaged.add(agent.id);
    }
    file.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return Promise.resolve();
}

export async function fillDisk(context: FaultContext): Promise<boolean> {
  const { world, agent, hold } = context;
  const path = join(agent.stateDir, "ballast");
  const from = Date.now();
  const file = Deno.openSync(path, { write: true, create: true });
  const block = new Uint8Array(64 * 1024);
  try {
    for (let i = 0; i < 10_000; i++) file.writeSync(block);
  } catch { /* full, as intended */ }
  file.close();
  await hold(stopTime(context));
  Deno.removeSync(path);
  world.outage(agent.id, "disk", from, Date.now() + 65_000);
  return true;
}

/** How long a start may take to find out that it cannot write its state, on a busy machine. */
const READ_ONLY_MS = 20_000;

export async function startReadOnly({ agent, world }: FaultContext): Promise<void> {
  if (!await remount(agent.stateDir, "ro")) return;
  const start = world.startAgent(agent);
  agent.wanted = false;
  world.asked(agent, "read-only");
  const timer = setTimeout(() => {
    world.asked(agent, "SIGKILL");
    start.proc.signal("SIGKILL");
    world.problems.push(`${start.mark} did not end by itself on a read-only disk`);
  }, READ_ONLY_MS);
  await start.proc.ended;
  clearTimeout(timer);
  await remount(agent.stateDir, "rw");
}

/** How long a second runner of an agent may take to be refused. */
const SECOND_MS = 10_000;

export async function secondRunner({ world, agent }: FaultContext): Promise<boolean> {
  if (!agent.alive) return false;
  const pid = agent.current!.proc.pid;
  const second = new Proc(agent.arguments(), {
    cwd: agent.cwd,
    env: agent.environment(`${agent.id}#second`),
    errFile: join(agent.dir, "second.log"),
  });
  // The first one may be gone by now, and then this one runs.
  const timer = setTimeout(() => second.signal("SIGTERM"), SECOND_MS);
  const { code } = await second.ended;
  clearTimeout(timer);
  // 0 is the orderly end of one that ran; on a busy machine the signal may come before it got to the lock.
  if (code === 0 && agent.current?.proc.pid === pid && agent.alive) {
    world.problems.push("a second runner of an agent ran beside the first");
  }
  return true;
}
