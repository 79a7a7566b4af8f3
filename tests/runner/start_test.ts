import { assertEquals } from "@std/assert";
import { CoreWorld } from "./core_world.ts";

Deno.test("step() does not start a provider again that ended with a usage error before it was ever ready", () => {
  for (const code of [2, 126, 127]) {
    const world = new CoreWorld();
    world.post({ type: "start" });
    world.post({ type: "spawned", incarnation: 1 });
    world.post({ type: "exited", incarnation: 1, status: { code, signal: null } });
    const causes = world.of("exit").map(({ outcome }) => outcome.cause);
    assertEquals(causes, [{
      kind: "error",
      code: "E_PROVIDER_CMD",
      message: `the provider cannot be started (exit code ${code})`,
    }]);
    assertEquals(world.of("spawn").length, 1);
  }
  // Once it was ready, the same code is an exit like any other.
  const world = new CoreWorld().up();
  world.post({ type: "exited", incarnation: 1, status: { code: 2, signal: null } });
  assertEquals([world.state.provider.state, world.of("exit").length], ["waiting", 0]);
});

Deno.test("step() names a dialog that keeps the agent from starting, and forgets it when the agent is ready", () => {
  const world = new CoreWorld({ headless: false });
  world.post({ type: "start" });
  world.post({ type: "bus.up" });
  world.post({ type: "spawned", incarnation: 1 });
  world.provider({ type: "fault", reason: "blocked: trust dialog" });
  assertEquals([world.status()?.ready, world.status()?.meta?.reason], [false, "blocked: trust dialog"]);
  world.provider({ type: "ready", resume: "s" });
  assertEquals([world.status()?.ready, world.status()?.agentStatus], [true, "idle"]);
});

Deno.test("step() ends the run with the code of an agent that the person quit", () => {
  const world = new CoreWorld({ headless: false }).up();
  world.post({ type: "exited", incarnation: 1, status: { code: 0, signal: null } });
  assertEquals(world.of("exit").map(({ outcome }) => outcome.cause), [{
    kind: "provider",
    status: { code: 0, signal: null },
  }]);
});
