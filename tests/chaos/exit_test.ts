import { assert, assertEquals } from "@std/assert";
import { until } from "../support/temp.ts";
import type { ChaosAgent } from "./agent.ts";
import { kill } from "./proc.ts";
import { withWorld } from "./with_world.ts";
import type { World } from "./world.ts";

/** The drain of the runners of a world, and what an orderly end may take beyond it. */
const SOFT_MS = 2_000 + 12_000;
/** What a second signal allows, with five times slack. */
const HARD_MS = 5 * 2_000;

/** What hangs while a runner is told to end. `undo` lets go of what would outlive the test. */
const HANGS: Record<string, (world: World, agent: ChaosAgent) => Promise<(() => void) | void>> = {
  "nothing hangs": () => Promise.resolve(),
  "the relay is in a black hole": (_, agent) => Promise.resolve(agent.proxy.set({ kind: "timeout" })),
  "the agent is stopped": async (_, agent) => {
    kill((await agent.find("agent"))!, "SIGSTOP");
  },
  "the wrapper is stopped": async (_, agent) => {
    kill((await agent.find("provider"))!, "SIGSTOP");
  },
  "a turn never ends and the agent ignores TERM": async (world, agent) => {
    agent.behave({ hangEvery: 1, ignoreTerm: true });
    const sent = await world.http.send({ from: "test", to: agent.id, body: "work", queue: true });
    assert(sent.ok);
    await agent.untilInFlight(20_000);
    await until("the turn", () => agent.oracle().some((record) => record.type === "seen"));
  },
  "the relay is stopped": (world) => {
    world.relay.signal("SIGSTOP");
    return Promise.resolve(() => void world.relay.signal("SIGCONT"));
  },
  "the guard is stopped": async (_, agent) => {
    const guard = (await agent.find("guard"))!;
    kill(guard, "SIGSTOP");
    return () => void kill(guard, "SIGCONT");
  },
};

for (const [what, hang] of Object.entries(HANGS)) {
  for (const signals of [["SIGTERM"], ["SIGHUP", "SIGTERM"]] as const) {
    Deno.test(`a runner ends within its bound on ${signals.join(" and ")} when ${what}`, async () => {
      await withWorld({}, async (world) => {
        const agent = world.agents[0]!;
        const undo = await hang(world, agent);
        agent.wanted = false;
        const { proc, mark } = agent.current!;
        proc.signal(signals[0]);
        const second = signals[1];
        if (second !== undefined) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          proc.signal(second);
        }
        const asked = Date.now();
        const ended = await proc.ended;
        undo?.();
        const tookMs = ended.at - asked;
        const boundMs = second === undefined ? SOFT_MS : HARD_MS;
        assert(tookMs <= boundMs, `${tookMs} ms`);
        // An orderly end may be faster than the second signal.
        if (second === undefined) assertEquals([ended.code, ended.signal], [0, null]);
        else assert([0, 143].includes(ended.code), `code ${ended.code}, signal ${ended.signal}`);
        await world.untilNoOrphans(mark);
      });
    });
  }
}
