import { TOXICS } from "../support/toxic_proxy.ts";
import type { ChaosAgent } from "./agent.ts";
import {
  aim,
  behaviour,
  command,
  type Fault,
  fillDisk,
  flipBits,
  killBelow,
  killRunner,
  linkToxic,
  relayFault,
  secondRunner,
  signalRunner,
  startReadOnly,
  stopProcess,
  stopTime,
  toxic,
  whileDown,
} from "./faults.ts";
import { flood } from "./flood.ts";
import { kill } from "./proc.ts";
import type { World } from "./world.ts";

const small = (world: World, agent: ChaosAgent) => agent.mounted && world.options.smallDiskKiB !== null;
const codex = (_: World, agent: ChaosAgent) => agent.provider === "codex";
const scripted = (_: World, agent: ChaosAgent) => agent.provider !== "echo";

/** Everything that is done to a world. */
export const FAULTS: readonly Fault[] = [
  { kind: "kill.runner", weight: 12, place: "agent", run: killRunner },
  { kind: "kill.guard", weight: 4, place: "agent", run: killBelow("guard") },
  { kind: "kill.provider", weight: 7, place: "provider", run: killBelow("provider") },
  { kind: "kill.agent", weight: 7, place: "provider", fits: scripted, run: killBelow("agent") },
  { kind: "kill.grandchild", weight: 2, place: "provider", fits: scripted, run: killBelow("other") },
  {
    kind: "kill.runner+guard",
    weight: 4,
    place: "agent",
    run: async (context) => {
      const { agent, world } = context;
      await aim(context);
      const { guard } = await agent.tree();
      if (guard === null) return false;
      world.unguarded.add(agent.current!.mark);
      kill(guard, "SIGKILL");
      return await killRunner(context);
    },
  },
  { kind: "stop.runner", weight: 6, place: "agent", run: stopProcess("runner") },
  { kind: "stop.guard", weight: 2, place: "agent", run: stopProcess("guard") },
  { kind: "stop.provider", weight: 3, place: "provider", run: stopProcess("provider") },
  { kind: "stop.agent", weight: 3, place: "provider", fits: scripted, run: stopProcess("agent") },
  { kind: "stop.grandchild", weight: 1, place: "provider", fits: scripted, run: stopProcess("other") },
  { kind: "term.runner", weight: 4, place: "agent", run: signalRunner("SIGTERM") },
  { kind: "hup.runner", weight: 2, place: "agent", run: signalRunner("SIGHUP") },
  { kind: "double.runner", weight: 3, place: "agent", run: signalRunner("SIGTERM", "SIGTERM") },
  {
    kind: "kill.relay",
    weight: 4,
    place: "relay",
    run: relayFault(async ({ world, hold }) => {
      world.relay.signal("SIGKILL");
      await world.relay.ended;
      await hold(1_000);
    }),
  },
  {
    kind: "restart.relay",
    weight: 2,
    place: "relay",
    run: relayFault(async ({ world, hold }) => {
      world.relay.signal("SIGTERM");
      await world.relay.ended;
      await hold(1_000);
    }),
  },
  {
    kind: "stop.relay",
    weight: 3,
    place: "relay",
    run: relayFault(async (context) => {
      const { pid } = context.world.relay;
      kill(pid, "SIGSTOP");
      await context.hold(stopTime(context));
      kill(pid, "SIGCONT");
    }),
  },
  {
    kind: "kill.proxy",
    weight: 3,
    place: "line",
    run: async ({ world, agent, hold, random }) => {
      const from = Date.now();
      agent.proxy.set({ kind: "down" });
      await hold(random.between(50, 1_000));
      agent.proxy.set({ kind: "none" });
      world.outage(agent.id, "line", from, Date.now() + 12_000);
      return true;
    },
  },
  ...TOXICS.map((kind): Fault => ({ kind: `line.${kind}`, weight: 2, place: "line", run: toxic(kind) })),
  // TCP repeats nothing, and Codex's queue knows no repeat (measured): that one is for the bus, which must stand it.
  ...TOXICS.filter((kind) => kind !== "duplicate").map((kind): Fault => ({
    kind: `link.${kind}`,
    weight: 1,
    place: "link",
    fits: codex,
    run: linkToxic(kind),
  })),
  { kind: "command.restart", weight: 2, place: "agent", run: command("agent.restart") },
  { kind: "command.shutdown", weight: 1, place: "agent", run: command("agent.shutdown") },
  { kind: "command.kill", weight: 1, place: "agent", run: command("agent.kill") },
  {
    kind: "provider.fails",
    weight: 2,
    place: "provider",
    fits: scripted,
    run: behaviour((random) => ({
      failEvery: random.int(2, 4),
      failure: random.pick(["500", "500", "401"]),
    })),
  },
  {
    kind: "provider.crashes",
    weight: 4,
    place: "provider",
    fits: scripted,
    run: behaviour((random) => ({
      crashEvery: random.int(1, 3),
      crashAt: random.pick(["accepted", "placed", "seen", "answered"] as const),
    })),
  },
  {
    kind: "provider.hangs",
    weight: 2,
    place: "provider",
    fits: scripted,
    run: behaviour((random) => ({ hangEvery: random.int(1, 3), ignoreTerm: random.chance(0.5) })),
  },
  {
    kind: "provider.slow",
    weight: 3,
    place: "provider",
    fits: scripted,
    run: behaviour((random) => ({
      slowStartMs: random.int(0, 2_000),
      placedMs: random.int(0, 300),
      seenMs: random.int(0, 500),
      doneMs: random.int(0, 800),
    })),
  },
  { kind: "disk.full", weight: 6, place: "agent", fits: small, run: fillDisk },
  { kind: "disk.read-only", weight: 2, place: "agent", fits: small, run: whileDown(startReadOnly) },
  { kind: "journal.flip", weight: 2, place: "agent", run: whileDown(flipBits) },
  { kind: "two.runners", weight: 2, place: "agent", run: secondRunner },
  {
    kind: "fds.flood",
    weight: 5,
    place: "agent",
    fits: (_, agent) => agent.openFiles !== undefined && agent.alive,
    run: async ({ agent, random }) =>
      await flood(agent.stateDir, { sockets: 400, forMs: random.int(300, 1_500) }) > 0,
  },
];
