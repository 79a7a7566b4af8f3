import { assert, assertEquals } from "@std/assert";
import type { SendInput } from "../../lib/protocol/message.ts";
import type { RelayServer } from "../../lib/relay/contract.ts";
import type { CallResult } from "../../lib/sdk/contract.ts";
import { httpOf, TestAgent, TOKEN } from "../support/relay_world.ts";
import { agentToken, api, Component, registration, withRelay } from "./component.ts";

/** Sends as an agent with its own token, or as the operator. */
async function send(relay: RelayServer, token: string, input: SendInput): Promise<number> {
  return value(await httpOf(relay, token).send(input)).message.id;
}

function value<T>(result: CallResult<T>): T {
  assert(result.ok, result.ok ? "" : result.message);
  return result.value;
}

Deno.test("an agent replies only to what it sent or got, and cannot tell the rest from what does not exist", async () => {
  await withRelay(async (relay) => {
    const [a, , evil] = [
      await agentToken(relay, "a"),
      await agentToken(relay, "b"),
      await agentToken(relay, "evil"),
    ];
    const secret = await send(relay, a, { from: "a", to: "b", body: "secret" });
    const refusals = await Promise.all(
      [secret, 999].map((replyTo) =>
        httpOf(relay, evil).send({ from: "evil", to: "evil", body: "let me in", replyTo })
      ),
    );
    for (const [index, id] of [secret, 999].entries()) {
      const refusal = refusals[index]!;
      assertEquals(
        refusal.ok ? "ok" : refusal.kind === "rejected" && [refusal.status, refusal.code, refusal.message],
        [
          422,
          "E_UNPROCESSABLE",
          `message ${id} to reply to is not here`,
        ],
      );
    }
    const bus = await Component.open(relay, evil);
    assertEquals(await bus.say("register", registration("evil", "provider", "evil")), "ok");
    const input = { from: "evil", to: "evil", body: "let me in", replyTo: secret };
    assertEquals(await bus.say("message.send", input), "E_UNPROCESSABLE");
    assertEquals(await bus.say("message.send", { ...input, replyTo: undefined }), "ok", "positive control");
    await bus.close();
    assertEquals(value(await httpOf(relay).thread(secret)).map(({ body }) => body), ["secret"]);
  });
});

Deno.test("a thread and a receipt show an agent only the messages that it sent or got", async () => {
  await withRelay(async (relay) => {
    const tokens = Object.fromEntries(
      await Promise.all(["a", "b", "c"].map(async (id) => [id, await agentToken(relay, id)] as const)),
    ) as Record<"a" | "b" | "c", string>;
    for (const id of ["b", "c"]) {
      const labelled = await api(relay, "POST", `/agents/${id}/label`, TOKEN, { label: "all" });
      assertEquals([labelled.status, (await labelled.json()).label], [200, "all"]);
    }
    const question = await send(relay, tokens.a, { from: "a", to: "label:all", body: "question" });
    await send(relay, tokens.b, { from: "b", to: "a", body: "b to a", replyTo: question });
    const aside = await send(relay, tokens.c, { from: "c", to: "a", body: "c to a", replyTo: question });
    await send(relay, tokens.a, { from: "a", to: "c", body: "a to c", replyTo: aside });
    const seen = async (token: string) => {
      const thread = value(await httpOf(relay, token).thread(question)).map(({ body }) => body);
      const replies = value(await httpOf(relay, token).receipt(question)).replies.map(({ body }) => body);
      return { thread, replies };
    };
    const all = { thread: ["question", "b to a", "c to a", "a to c"], replies: ["b to a", "c to a"] };
    assertEquals(await seen(TOKEN), all);
    assertEquals(await seen(tokens.a), all);
    assertEquals(await seen(tokens.b), { thread: ["question", "b to a"], replies: ["b to a"] });
    assertEquals(await seen(tokens.c), { thread: ["question", "c to a", "a to c"], replies: ["c to a"] });
  });
});

Deno.test("only those a message was sent to answer it in its receipt, whoever else writes into the thread", async () => {
  await withRelay(async (relay) => {
    const http = httpOf(relay);
    const evil = await agentToken(relay, "evil");
    await agentToken(relay, "worker");
    await agentToken(relay, "second");
    const bodies = async (id: number) =>
      value(await http.receipt(id)).replies.map(({ from, body }) => [from, body]);
    const answer = (from: string, replyTo: number, body = "done") =>
      send(relay, TOKEN, { from, to: "person", body, replyTo });
    // Somebody with the relay's token who is not asked, and the sender itself: stored, and no answer.
    const question = await send(relay, TOKEN, { from: "person", to: "worker", body: "?" });
    const before = value(await http.receipt(question)).version;
    await answer("evil", question, "forged");
    await answer("person", question, "and one more thing");
    assertEquals([await bodies(question), value(await http.receipt(question)).version], [[], before]);
    assertEquals(value(await http.thread(question)).length, 3);
    await answer("worker", question);
    assertEquals(await bodies(question), [["worker", "done"]]);
    // Work that several could have done: each of them is asked.
    const work = await send(relay, TOKEN, { from: "person", to: "broadcast", body: "?", claimable: true });
    await answer("second", work);
    assertEquals(await bodies(work), [["second", "done"]]);
    // A dead letter that was opened again.
    const letter = { messageId: question, agentId: "worker", generation: 0 };
    value(await http.reportStages([{ ...letter, stage: "dead", at: Date.now() }]));
    value(await http.retryDead(letter));
    await answer("worker", question, "at last");
    assertEquals((await bodies(question)).at(-1), ["worker", "at last"]);
    // Mail that waited for its first recipient.
    const queued = await send(relay, TOKEN, { from: "person", to: "late", body: "?", queue: true });
    const labelled = await send(relay, TOKEN, { from: "person", to: "label:late", body: "?", queue: true });
    const late = await new TestAgent(relay.url, "late", { label: "late" }).join();
    for (const id of [queued, labelled]) {
      value(await late.bus.send({ from: "late", to: "person", body: "here", replyTo: id }));
      assertEquals(await bodies(id), [["late", "here"]]);
    }
    await late.bus.close();
    // An agent asks a person, who is no agent, in the thread that the person began.
    const back = await send(relay, TOKEN, {
      from: "worker",
      to: "person",
      body: "which one?",
      replyTo: question,
    });
    await send(relay, TOKEN, { from: "person", to: "worker", body: "the blue one", replyTo: back });
    assertEquals(await bodies(back), [["person", "the blue one"]]);
    assertEquals(
      value(await httpOf(relay, evil).send({ from: "evil", to: "worker", body: "hi" })).recipients,
      ["worker"],
    );
  });
});
