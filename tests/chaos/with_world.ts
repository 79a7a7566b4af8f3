import { join } from "@std/path";
import { withTempDir } from "../support/temp.ts";
import { World, type WorldOptions } from "./world.ts";

/**
 * Runs `work` in a world of its own that is up, and takes it down after: for tests of one number of the contract, where
 * the faults are chosen and not drawn.
 */
export async function withWorld(
  options: Partial<WorldOptions>,
  work: (world: World) => Promise<void>,
): Promise<void> {
  await withTempDir(async (dir) => {
    const place = join(dir, "world");
    Deno.mkdirSync(place, { mode: 0o700 });
    const world = new World({
      dir: place,
      name: "t",
      seed: 1,
      providers: ["claude"],
      leaseMs: 60_000,
      smallDiskKiB: null,
      ...options,
    });
    try {
      await world.begin();
      await work(world);
    } finally {
      await world.dispose();
    }
  });
}
