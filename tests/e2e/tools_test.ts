import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { parseFrame } from "../../lib/inbox/framing.ts";
import type { Receipt } from "../../lib/protocol/message.ts";
import { McpClient } from "../support/mcp_client.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** Two echo agents; the test stands in for what one of them would do with its tools. */
async function withTwo(
  work: (world: { home: TestHome; mcp: McpClient; me: string; other: string }) => Promise<void>,
  otherFlags: string[] = [],
): Promise<void> {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const runners = [
      home.start(["echo", "--label", "me"]),
      home.start(["echo", "--label", "other", ...otherFlags], { env: { AGENT_RELAY_CAPS: "review" } }),
    ];
    const me = String((await home.untilReady("me")).id);
    const other = String((await home.untilReady("other")).id);
    {
      await using mcp = new McpClient(home, join(home.home, "state", me, "control.json"));
      await mcp.request("initialize", { protocolVersion: "2025-06-18" });
      await work({ home, mcp, me, other });
      assertEquals(await mcp.end(), 0);
    }
    for (const runner of runners) {
      runner.kill("SIGTERM");
      assertEquals(await runner.ended(), 0, runner.err);
    }
  });
}

async function receiptOf(home: TestHome, id: number): Promise<Receipt> {
  const { out, err } = await home.run(["receipt", String(id), "--json"]);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as Receipt;
}

/** What the log says of messages that the agent's runner took. */
const ids = (text: string) => [...text.matchAll(/message (\d+)/g)].map((match) => Number(match[1]));

Deno.test("an agent sends with its own id, sees who is there and how far its message got", async () => {
  await withTwo(async ({ home, mcp, me, other }) => {
    const agents = await mcp.call("relay_agents");
    const listed = agents.text.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    assertEquals(
      listed.map(({ id, label, you }) => [id, label, you === true]).sort(),
      [
        [me, "me", true],
        [other, "other", false],
      ].sort(),
    );
    assert(!/token|ara_/i.test(agents.text), agents.text);

    const sent = await mcp.call("relay_send", { to: "cap:review", text: "look at it", subject: "a review" });
    assertEquals(sent.isError, false, sent.text);
    assertMatch(sent.text, new RegExp(`^message \\d+ was sent to ${other}\\.$`));
    const [id] = ids(sent.text);
    await until("the message to be read", async () => (await receiptOf(home, id!)).recipients[0]!.read);
    const { message, replies } = await receiptOf(home, id!);
    assertEquals([message.from, message.subject, message.body], [me, "a review", "look at it"]);
    assertEquals(replies, [], "nobody asked for an answer");
    const receipt = await mcp.call("relay_receipt", { message_id: id });
    assertMatch(receipt.text, new RegExp(`${other}: received, .*seen.*, read`));
  });
});

Deno.test("an agent that waits for the answer gets it as framed data, and not a second time as a message", async () => {
  await withTwo(async ({ home, mcp, me, other }) => {
    for (let i = 0; i < 5; i++) {
      const answer = await mcp.call("relay_send", {
        to: "label:other",
        text: `question ${i}`,
        wait_reply_seconds: 30,
      });
      assertEquals(answer.isError, false, answer.text);
      const [first, ...rest] = answer.text.split("\n");
      assertMatch(first!, /^the answer to message \d+:$/);
      const frame = parseFrame(rest.join("\n"));
      assertEquals([frame?.from, frame?.body, frame?.trust], [other, `echo: question ${i}`, "untrusted"]);
      const id = Number(frame!.id);
      await until("the answer to be acked", async () => (await receiptOf(home, id)).recipients[0]!.read);
      assertEquals((await receiptOf(home, id)).recipients[0]!.reports, [], "the runner did not handle it");
    }
    // Whatever follows is delivered as ever.
    const after = await home.run(["send", me, "still there?", "--wait-reply", "--timeout", "30s"]);
    assertEquals(after.out, "echo: still there?\n", after.err);
  });
});

Deno.test("an answer that is late, or whose call was cancelled, comes as a message", async () => {
  await withTwo(async ({ home, mcp, me }) => {
    const late = await mcp.call("relay_send", { to: "label:other", text: "slow", wait_reply_seconds: 1 });
    assertEquals(late.isError, false);
    assertStringIncludes(late.text, "No answer within 1 s");
    const [id] = ids(late.text);
    const cancelled = mcp.request("tools/call", {
      name: "relay_send",
      arguments: { to: "label:other", text: "given up", wait_reply_seconds: 60 },
    });
    void cancelled.catch(() => {});
    await until("the second message", async () => (await receiptOf(home, id! + 1)).recipients.length === 1);
    await mcp.notify("notifications/cancelled", { requestId: mcp.lastId });
    for (const asked of [id!, id! + 1]) {
      await until("the answer", async () => (await receiptOf(home, asked)).replies.length === 1);
      const [reply] = (await receiptOf(home, asked)).replies;
      assertEquals(reply!.to, me);
      await until("the answer at its runner", async () => {
        const { recipients } = await receiptOf(home, reply!.id);
        return recipients[0]!.reports.some(({ stage }) => stage === "done");
      });
    }
  }, ["--", "--slow", "2500ms"]);
});

Deno.test("a report of progress goes into the thread and does not end the wait for the answer", async () => {
  await withTwo(async ({ home, mcp, me }) => {
    const other = new McpClient(
      home,
      join(home.home, "state", String((await home.untilReady("other")).id), "control.json"),
    );
    const waiting = home.run(["send", "label:other", "take your time", "--wait-reply", "--timeout", "30s"]);
    await until("the message", async () => (await home.run(["receipt", "1"])).code === 0);
    await until("its turn", async () => (await receiptOf(home, 1)).recipients[0]!.reports.length > 1);
    const progress = await other.call("relay_reply", { message_id: 1, text: "half way" });
    assertEquals(progress.isError, false, progress.text);
    assertEquals((await waiting).out, "echo: take your time\n");
    const late = await other.call("relay_reply", { message_id: 1, text: "one more thing" });
    assertEquals(late.isError, false, late.text);
    const { replies } = await receiptOf(home, 1);
    assertEquals(replies.map(({ kind, body }) => [kind, body]), [
      ["progress", "half way"],
      ["reply", "echo: take your time"],
      ["reply", "one more thing"],
    ]);
    // Only those who got a message can answer it.
    const foreign = await mcp.call("relay_reply", { message_id: 1, text: "me too" });
    assertEquals(foreign.isError, true);
    assertStringIncludes(foreign.text, "there is no message 1 that you");
    assertEquals((await mcp.call("relay_receipt", { message_id: 1 })).isError, true);
    assertEquals((await mcp.call("relay_receipt", { message_id: 999 })).isError, true);
    assert(me !== "");
    assertEquals(await other.end(), 0);
  }, ["--", "--slow", "2s"]);
});

Deno.test("what goes wrong is a result with a hint for the model", async () => {
  await withTwo(async ({ mcp, me }) => {
    const errors: [name: string, args: Record<string, unknown>, said: RegExp][] = [
      [
        "relay_send",
        { to: "label:othr", text: "x" },
        /nobody is there for "label:othr"\. did you mean label:other/,
      ],
      ["relay_send", { to: me, text: "x" }, /is you\. relay_agents lists the others/],
      ["relay_send", { to: "label:me", text: "x" }, /means the sender alone/],
      ["relay_send", { to: "label:other" }, /"text" is missing/],
      ["relay_send", { to: "label:other", text: " " }, /"text" is empty/],
      ["relay_send", { to: "a b", text: "x" }, /"to" is an agent id/],
      ["relay_send", { to: "broadcast", text: "x", wait_reply_seconds: 121 }, /from 0 to 120/],
      ["relay_send", { to: "broadcast", text: "x", from: "root" }, /there is no "from"/],
      ["relay_send", { to: "label:other", text: "x".repeat(300_000) }, /longer than 262144/],
      [
        "relay_send",
        { to: "label:other", text: "x".repeat(1_100_000) },
        /too long; put the text into a file/,
      ],
      ["relay_reply", { message_id: "1", text: "x" }, /whole number/],
      ["relay_receipt", { message_id: 0 }, /whole number/],
    ];
    for (const [name, args, said] of errors) {
      const { text, isError } = await mcp.call(name, args);
      assertEquals(isError, true, text);
      assertMatch(text, said);
    }
  });
});

Deno.test("runner mcp without a runner says so with every call, and ends with its input", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const mcp = new McpClient(home, join(dir, "missing.json"));
    assertEquals((await mcp.request("tools/list")).tools instanceof Array, true);
    const { text, isError } = await mcp.call("relay_agents");
    assertEquals([isError, text.startsWith("there is no relay here")], [true, true], text);
    assertEquals(await mcp.end(), 0);
  });
});
