import { assert } from "@std/assert";
import { until } from "../support/temp.ts";
import { kill } from "./proc.ts";
import { withWorld } from "./with_world.ts";

/** The death of a provider is on the bus: 2 s, with five times slack. */
const PUBLISH_MS = 5 * 2_000;

for (const part of ["provider", "agent"] as const) {
  const what = part === "provider"
    ? "wrapper, whose children hold its output open,"
    : "agent below its wrapper";
  Deno.test(
    `the bus hears at once of the death of an ${what} and when it is back`.replace("an w", "a w"),
    async () => {
      await withWorld({ providers: ["claude", "codex"] }, async (world) => {
        await Promise.all(world.agents.map(async (agent) => {
          const pid = await agent.find(part);
          assert(pid !== null && kill(pid, "SIGKILL"));
          await until(`${agent.id} to be not ready`, async () => !await world.isReady(agent.id), PUBLISH_MS);
          await until(`${agent.id} to be ready again`, () => world.isReady(agent.id), 60_000);
          assert(await agent.find(part) !== pid);
        }));
      });
    },
  );
}
