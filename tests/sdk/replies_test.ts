import { assertEquals } from "@std/assert";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { testCard } from "../support/rows.ts";

/** What a client makes of this body. */
async function answered(
  body: unknown,
  call: (http: RelayHttpClient) => Promise<{ ok: boolean; kind?: string }>,
  status = 200,
): Promise<string> {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => Response.json(body, { status }),
  );
  try {
    const result = await call(
      new RelayHttpClient({ url: `http://127.0.0.1:${server.addr.port}`, token: null }),
    );
    return result.ok ? "ok" : result.kind!;
  } finally {
    await server.shutdown();
  }
}

const CARD = testCard("a");
const MESSAGE = { id: 1, storeId: "s", from: "x", to: "a", body: "text", createdAt: 1 };
const REPORT = { messageId: 1, agentId: "a", stage: "seen", at: 1 };
const LETTER = {
  messageId: 1,
  agentId: "a",
  generation: 0,
  at: 1,
  reason: "r",
  from: "x",
  to: "a",
  excerpt: "",
};

Deno.test("an answer with an element that makes no sense is no answer, for lists of agents, letters and receipts", async () => {
  const agents = (http: RelayHttpClient) => http.listAgents();
  const dead = (http: RelayHttpClient) => http.listDead();
  const receipt = (http: RelayHttpClient) => http.receipt(1);
  const recipients = (report: unknown) => ({
    version: 1,
    message: MESSAGE,
    recipients: [{ agentId: "a", read: true, reports: [report] }],
    replies: [],
  });
  const cases: [unknown, typeof agents | typeof dead | typeof receipt, string][] = [
    [{ agents: [CARD] }, agents, "ok"],
    [{ agents: [null] }, agents, "unknown"],
    [{ agents: [{ ...CARD, id: 7 }] }, agents, "unknown"],
    [{ agents: [{ ...CARD, status: "\x1b[2J" }] }, agents, "unknown"],
    [{ agents: [{ ...CARD, lastSeen: 1e300 }] }, agents, "unknown"],
    [{ storeId: "s", letters: [LETTER] }, dead, "ok"],
    [{ storeId: "s", letters: [{ ...LETTER, at: 9e15 }] }, dead, "unknown"],
    [{ storeId: "s", letters: ["x"] }, dead, "unknown"],
    [recipients(REPORT), receipt, "ok"],
    [recipients({ ...REPORT, at: -1 }), receipt, "unknown"],
    [recipients({ ...REPORT, evidence: {} }), receipt, "unknown"],
    [{ ...recipients(REPORT), message: { ...MESSAGE, createdAt: 9e15 } }, receipt, "unknown"],
    [{ ...recipients(REPORT), replies: [1] }, receipt, "unknown"],
  ];
  for (const [body, call, expected] of cases) {
    assertEquals(await answered(body, call), expected, JSON.stringify(body));
  }
});

Deno.test("what an agent says of itself cannot break those who show it", async () => {
  const meta = { reason: 7, busyReasons: "x", provider: "claude" };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => Response.json({ agents: [{ ...CARD, meta }] }),
  );
  const listed = await new RelayHttpClient({ url: `http://127.0.0.1:${server.addr.port}`, token: null })
    .listAgents();
  assertEquals(listed.ok && listed.value[0]?.meta, { provider: "claude" });
  await server.shutdown();
});
