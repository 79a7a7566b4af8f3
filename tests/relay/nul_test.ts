import { assert, assertEquals } from "@std/assert";
import { httpOf, TestAgent, TOKEN } from "../support/relay_world.ts";
import { api, Component, registration, withRelay } from "./component.ts";

Deno.test("a NUL character reaches an agent in a body, and comes back in its answer", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const body = "before\0after";
    const sent = await http.send({ from: "person", to: "a", body, queue: true });
    assert(sent.ok);
    const { id } = sent.value.message;
    const agent = await new TestAgent(relay.url, "a").join();
    await agent.untilGot(body);
    assert((await agent.bus.send({ from: "a", to: "person", body, replyTo: id })).ok);
    const unread = await http.listUnread("a");
    assertEquals(unread.ok && unread.value.map((each) => each.body), [body]);
    const receipt = await http.receipt(id);
    assertEquals(receipt.ok && receipt.value.replies.map((each) => each.body), [body]);
    await agent.bus.close();
  });
});

Deno.test("a NUL character is refused in what names something, with its place", async () => {
  await withRelay(async (relay) => {
    const component = await Component.open(relay, TOKEN);
    assertEquals(await component.say("register", registration("a")), "ok");
    const message = {
      from: "a",
      to: "a",
      body: "x",
      subject: "s",
      kind: "k",
      channel: "c",
      idempotencyKey: "i",
    };
    for (const name of ["from", "to", "subject", "kind", "channel", "idempotencyKey"]) {
      const input = { ...message, [name]: "a\0b" };
      const answer = await api(relay, "POST", "/messages", TOKEN, input);
      assertEquals([answer.status, await answer.json()], [400, {
        error: `field \`${name}\` contains a NUL character`,
        code: "E_BAD_REQUEST",
      }]);
      assertEquals(await component.say("message.send", input), "E_BAD_REQUEST", name);
    }
    assertEquals(await component.say("message.send", message), "ok");
    for (const name of ["type", "target", "source", "correlationId"]) {
      const input = { type: "agent.restart", target: "a", [name]: "a\0b" };
      const answer = await api(relay, "POST", "/commands", TOKEN, input);
      assertEquals([answer.status, (await answer.json()).error], [
        400,
        `field \`${name}\` contains a NUL character`,
      ]);
    }
    for (const name of ["commandType", "target"]) {
      const input = { commandType: "agent.restart", target: "a", [name]: "a\0b" };
      assertEquals(await component.say("command", input), "E_BAD_REQUEST", name);
    }
    const created = await httpOf(relay).createCommand({ type: "agent.restart", target: "a" });
    assert(created.ok);
    const update = {
      commandId: created.value.id,
      status: "failed",
      error: "no\0way\n\x1b[2J",
      result: { a: "b\0c" },
    };
    assertEquals(await component.say("command.update", update), "ok");
    const command = await httpOf(relay).getCommand(created.value.id);
    assertEquals(command.ok && [command.value.error, command.value.result], ["no\\x00way\\n\\x1b[2J", {
      a: "b\0c",
    }]);
    await component.close();
  });
});
