import { assertEquals } from "@std/assert";
import { CoreWorld, STORE } from "./core_world.ts";

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
  world.post({ type: "bus.up", storeId: STORE });
  world.post({ type: "spawned", incarnation: 1 });
  world.provider({ type: "fault", reason: "blocked: trust dialog" });
  assertEquals([world.status()?.ready, world.status()?.meta?.reason], [false, "blocked: trust dialog"]);
  world.provider({ type: "ready", resume: "s" });
  assertEquals([world.status()?.ready, world.status()?.agentStatus], [true, "idle"]);
});

Deno.test("step() ends the run with the code of an agent that the person quit, also by Ctrl-C", () => {
  for (
    const status of [{ code: 0, signal: null }, { code: 130, signal: "SIGINT" }, { code: 130, signal: null }]
  ) {
    const world = new CoreWorld({ headless: false }).up();
    // Long after its start, when any other end is one to be started again after.
    world.mono += 60_000;
    world.post({ type: "exited", incarnation: 1, status });
    assertEquals(world.of("exit").map(({ outcome }) => outcome.cause), [{ kind: "provider", status }]);
  }
  // Nobody sits before a headless one.
  const headless = new CoreWorld().up();
  headless.post({ type: "exited", incarnation: 1, status: { code: 130, signal: "SIGINT" } });
  assertEquals([headless.state.provider.state, headless.of("exit").length], ["waiting", 0]);
});

Deno.test("step() gives a person back their terminal when the agent ends before it was ready, or right after", () => {
  const world = new CoreWorld({ headless: false });
  world.post({ type: "start" });
  world.post({ type: "spawned", incarnation: 1 });
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  assertEquals(world.of("exit").map(({ outcome }) => outcome.cause), [{
    kind: "provider",
    status: { code: 1, signal: null },
  }]);
  const soon = new CoreWorld({ headless: false }).up();
  soon.mono += 4_000;
  soon.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  assertEquals(soon.of("exit").length, 1);
  // An agent that worked before is started again.
  const later = new CoreWorld({ headless: false }).up();
  later.mono += 6_000;
  later.post({ type: "exited", incarnation: 1, status: { code: 1, signal: null } });
  assertEquals([later.state.provider.state, later.of("exit").length], ["waiting", 0]);
});

Deno.test("step() takes Ctrl-C for itself only while there is no agent to get it", () => {
  const world = new CoreWorld({ headless: false }).up();
  world.post({ type: "signal", signal: "SIGINT" });
  assertEquals(world.state.phase.phase, "running");
  world.post({ type: "exited", incarnation: 1, status: { code: 1, signal: "SIGKILL" } });
  assertEquals(world.state.provider.state, "waiting");
  world.post({ type: "signal", signal: "SIGINT" });
  assertEquals(world.of("exit").length, 1);
});

Deno.test("step() says on the bus which way deliveries take, as long as there is one", () => {
  const world = new CoreWorld({ headless: false });
  world.post({ type: "start" });
  world.post({ type: "bus.up", storeId: STORE });
  world.post({ type: "spawned", incarnation: 1 });
  assertEquals(world.status()?.meta?.delivery, undefined);
  world.provider({ type: "ready", resume: "s", channel: "plugin monitor" });
  assertEquals(world.status()?.meta?.delivery, "plugin monitor");
});

Deno.test("step() ends the run when the person quits the agent, also while its process is being restarted", () => {
  const status = { code: 0, signal: null };
  const quit = { type: "quit", status } as const;
  const causes = (world: CoreWorld) => world.of("exit").map(({ outcome }) => outcome.cause);
  const ended = [{ kind: "provider" as const, status }];

  const ready = new CoreWorld({ headless: false }).up();
  ready.provider(quit);
  assertEquals([ready.of("stop-provider").length, causes(ready).length], [1, 0]);
  ready.post({ type: "exited", incarnation: 1, status: { code: 143, signal: "SIGTERM" } });
  assertEquals(causes(ready), ended);

  const waiting = new CoreWorld({ headless: false }).up();
  waiting.post({ type: "exited", incarnation: 1, status: { code: 137, signal: "SIGKILL" } });
  assertEquals(waiting.state.provider.state, "waiting");
  waiting.post({ type: "provider", incarnation: 1, event: quit });
  assertEquals(causes(waiting), ended);

  const restarting = new CoreWorld({ headless: false }).up();
  const target = restarting.state.config.agentId;
  const command = { id: "c", type: "agent.restart", target, params: {}, status: "pending" as const };
  restarting.post({
    type: "command",
    command: {
      commandId: "c",
      commandType: "agent.restart",
      target,
      params: {},
      command: { ...command, createdAt: 0, updatedAt: 0 },
    },
  });
  assertEquals(restarting.state.provider.state, "stopping");
  restarting.provider(quit);
  restarting.post({ type: "exited", incarnation: 1, status });
  assertEquals([causes(restarting), restarting.of("spawn").length], [ended, 0]);
  const updates = restarting.of("command.update").map(({ update }) => update.status);
  assertEquals(updates, ["accepted", "running", "failed"]);
});
