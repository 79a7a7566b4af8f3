import { assertEquals } from "@std/assert";
import { httpOf, TestAgent, TOKEN } from "../support/relay_world.ts";
import { until } from "../support/temp.ts";
import { Component, registration, withRelay } from "./component.ts";

Deno.test("commands need the relay's own token on the bus as well, whatever role a component gives itself", async () => {
  await withRelay(async (relay) => {
    const victim = await new TestAgent(relay.url, "victim").join();
    const command = { commandType: "agent.kill", target: "victim" };
    for (const role of ["provider", "channel", "orchestrator", "integration"]) {
      const agent = await new TestAgent(relay.url, "evil").join();
      const token = agent.bus.agentToken!;
      await agent.bus.close();
      const component = await Component.open(relay, token);
      assertEquals(await component.say("register", registration("evil", role)), "ok", role);
      assertEquals(await component.say("command", command), "E_FORBIDDEN", role);
      await component.close();
    }
    const operator = await Component.open(relay, TOKEN);
    assertEquals(await operator.say("register", registration("desk", "orchestrator")), "ok");
    assertEquals(await operator.say("command", { ...command, commandType: "agent.restart" }), "ok");
    await until("the command", () => victim.commands.length > 0);
    assertEquals(victim.commands, ["agent.restart"]);
    await operator.close();
    await victim.bus.close();
  });
});

Deno.test("a role or a status that does not exist is refused on the bus, and nothing of it is kept", async () => {
  await withRelay(async (relay) => {
    const wrong = await Component.open(relay, TOKEN);
    // The first frame must be a registration, which this is not.
    wrong.send("register", registration("a", "nonsense"));
    await wrong.closed;
    const component = await Component.open(relay, TOKEN);
    assertEquals(await component.say("register", registration("a", "provider")), "ok");
    assertEquals(await component.say("status", { agentStatus: "banana" }), "E_BAD_REQUEST");
    assertEquals(await component.say("heartbeat", { status: "banana" }), "E_BAD_REQUEST");
    assertEquals(await component.say("status", { agentStatus: "busy" }), "ok");
    const listed = await httpOf(relay).listAgents();
    assertEquals(listed.ok && listed.value.map(({ id, kind, status }) => [id, kind, status]), [[
      "a",
      "provider",
      "busy",
    ]]);
    await component.close();
  });
});
