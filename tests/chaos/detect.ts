import { until } from "../support/temp.ts";
import type { World } from "./world.ts";

/** A link whose other end is gone without a word is given up in this time. */
export const DETECT_MS = 45_000;

/**
 * Lets the lines of all agents of a world swallow everything, `rounds` times, and returns how long each agent took to
 * notice: until it connected anew. Throws when one did not within the promise.
 */
export async function measureDetection(world: World, rounds: number): Promise<number[]> {
  const took: number[] = [];
  await Promise.all(world.agents.map(async ({ id, proxy }) => {
    for (let round = 0; round < rounds; round++) {
      const before = proxy.opened.length;
      const began = Date.now();
      proxy.set({ kind: "timeout" });
      await until(`${id} to notice a dead line`, () => proxy.opened.length > before, DETECT_MS);
      took.push(proxy.opened[before]! - began);
      proxy.set({ kind: "none" });
      await until(`${id} to be ready again`, () => world.isReady(id), 60_000);
    }
  }));
  return took;
}

/**
 * Stops the runners of all agents for `sleepMs`, as the sleep of a machine does, and returns how long each took from
 * then on to be ready on the bus. Throws when one was not within a minute.
 */
export async function measureWake(world: World, sleepMs: number): Promise<number[]> {
  for (const agent of world.agents) agent.current!.proc.signal("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, sleepMs));
  return await Promise.all(world.agents.map(async (agent) => {
    const began = Date.now();
    agent.current!.proc.signal("SIGCONT");
    // What the relay says in the first moment may still be from before the sleep.
    await new Promise((resolve) => setTimeout(resolve, 500));
    await until(`${agent.id} to be ready after its sleep`, () => world.isReady(agent.id), 60_000);
    return Date.now() - began;
  }));
}
