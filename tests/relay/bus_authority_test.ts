import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { httpOf, TestAgent, testRelay, TOKEN } from "../support/relay_world.ts";
import { until, withTempDir } from "../support/temp.ts";
import { agentToken, api, Component, registration, withRelay } from "./component.ts";

Deno.test("commands need the relay's own token on the bus as well, whatever role a component gives itself", async () => {
  await withRelay(async (relay) => {
    const victim = await new TestAgent(relay.url, "victim").join();
    const command = { commandType: "agent.kill", target: "victim" };
    for (const role of ["provider", "channel", "orchestrator", "integration"]) {
      const agent = await new TestAgent(relay.url, "evil").join();
      const token = agent.bus.agentToken!;
      await agent.bus.close();
      const component = await Component.open(relay, token);
      assertEquals(await component.say("register", registration("evil", role, "run-evil")), "ok", role);
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

Deno.test("a component may not be called what another agent or its component is called, and an agent's token brings no new name", async () => {
  await withRelay(async (relay) => {
    const victim = await new TestAgent(relay.url, "victim").join();
    const evil = await agentToken(relay, "evil");
    const attempt = async (token: string, agentId: string, componentId: string) => {
      const answer = await api(relay, "POST", "/agents", token, { id: agentId, componentId });
      const { code } = await answer.json() as { code?: string };
      const component = await Component.open(relay, token);
      const onTheBus = await component.say("register", registration(agentId, "provider", componentId));
      await component.close();
      return [answer.status, code ?? "ok", onTheBus];
    };
    for (const name of ["victim", "run-victim", "to-come"]) {
      assertEquals(await attempt(evil, "evil", name), [403, "E_FORBIDDEN", "E_FORBIDDEN"], name);
    }
    const component = await Component.open(relay, evil);
    assertEquals(await component.say("register", registration("evil", "provider", "run-evil")), "ok");
    await component.close();
    assertEquals(await attempt(TOKEN, "other", "victim"), [409, "E_CONFLICT", "E_CONFLICT"]);
    assertEquals(await attempt(TOKEN, "other", "run-victim"), [409, "E_CONFLICT", "E_CONFLICT"]);
    const listed = await httpOf(relay).listAgents();
    assert(listed.ok);
    const names = listed.value.map(({ id, componentId }) => [id, componentId]);
    assertEquals(names, [["evil", "run-evil"], ["victim", "run-victim"]]);
    // Its own names stay its own, over a new instance, and the name of a component that has gone is free.
    const again = await new TestAgent(relay.url, "victim").join();
    await again.bus.close();
    await victim.bus.close();
    await until("its end", async () => {
      const card = await httpOf(relay).getAgent("victim");
      return card.ok && !card.value.ready;
    });
    assertEquals((await attempt(TOKEN, "other", "run-victim"))[2], "ok");
    assertEquals((await attempt(TOKEN, "victim", "victim"))[2], "ok");
  });
});

Deno.test("whoever registers under an id has it, whatever called its component so before", async () => {
  await withRelay(async (relay) => {
    const squatter = await Component.open(relay, TOKEN);
    assertEquals(await squatter.say("register", registration("squatter", "provider", "victim")), "ok");
    const kill = { type: "agent.kill", target: "victim" };
    const early = await httpOf(relay).createCommand(kill);
    assertEquals(early.ok && early.value.target, "squatter", "a component's name means its agent");
    const victim = await new TestAgent(relay.url, "victim").join();
    const listed = await httpOf(relay).listAgents();
    assertEquals(listed.ok && listed.value.map(({ id, componentId }) => [id, componentId]), [
      ["squatter", "squatter"],
      ["victim", "run-victim"],
    ]);
    const command = await httpOf(relay).createCommand(kill);
    assert(command.ok);
    await until("the command", () => victim.commands.length === 1);
    assertEquals(victim.commands, ["agent.kill"]);
    const answer = { commandId: command.value.id, status: "succeeded" };
    assertEquals(await squatter.say("command.update", answer), "E_FORBIDDEN");
    const open = await httpOf(relay).getCommand(command.value.id);
    assertEquals(open.ok && open.value.status, "pending");
    assert((await victim.bus.updateCommand({ commandId: command.value.id, status: "succeeded" })).ok);
    await victim.bus.close();
    await squatter.close();
  });
});

Deno.test("a command for a component is its agent's, also when that comes later, and is answered by its next run", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const command = await http.createCommand({ type: "agent.restart", target: "run-a" });
    assert(command.ok);
    assertEquals(command.value.target, "run-a");
    const { id } = command.value;
    const first = await new TestAgent(relay.url, "a").join();
    await until("the command", () => first.commands.length === 1);
    await first.bus.close();
    const second = await Component.open(relay, TOKEN);
    assertEquals(await second.say("register", registration("a", "provider", "run-2")), "ok");
    const other = await new TestAgent(relay.url, "b").join();
    assertEquals((await other.bus.updateCommand({ commandId: id, status: "succeeded" })).ok, false);
    assertEquals(await second.say("command.update", { commandId: id, status: "succeeded" }), "ok");
    const ended = await http.getCommand(id);
    assertEquals(ended.ok && [ended.value.status, ended.value.target], ["succeeded", "a"]);
    await other.bus.close();
    await second.close();
  });
});

Deno.test("names that an earlier relay took twice are told apart when their owners come", async () => {
  await withTempDir(async (dir) => {
    const before = await testRelay(dir);
    const evil = await agentToken(before, "evil");
    await agentToken(before, "victim");
    await before.stop();
    const db = new DatabaseSync(join(dir, "relay.db"));
    db.exec("UPDATE agent SET component_id = 'victim' WHERE id = 'evil'");
    db.close();
    const relay = await testRelay(dir);
    const squat = await api(relay, "POST", "/agents", evil, { id: "evil", componentId: "victim" });
    assertEquals([squat.status, (await squat.json()).code], [409, "E_CONFLICT"]);
    const victim = await new TestAgent(relay.url, "victim").join();
    const card = await httpOf(relay).getAgent("evil");
    assertEquals(card.ok && card.value.componentId, "evil");
    await victim.bus.close();
    await relay.stop();
  });
});
