import { assert, assertEquals, assertMatch } from "@std/assert";
import { relayError } from "../../lib/cli/relay_access.ts";
import { noRecipient } from "../../lib/sdk/no_recipient.ts";
import { RelayHttpClient } from "../../lib/sdk/mod.ts";
import { httpOf, testRelay } from "../support/relay_world.ts";
import { withTempDir } from "../support/temp.ts";

Deno.test("a recipient that is offline is called so, one that does not exist gets the near misses", () => {
  const said = (target: string) =>
    noRecipient(target, ["label:api", "vm-api"], { hint: "--queue keeps it" }).hint;
  assertEquals(said("label:api"), "it is offline; --queue keeps it");
  assertEquals(said("label:apj"), "did you mean label:api?; --queue keeps it");
});

Deno.test("a relay that takes the connection and says nothing is unreachable, not one whose answer makes no sense", async () => {
  // A process that is stopped: the kernel takes connections for it.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const url = `http://127.0.0.1:${listener.addr.port}`;
    const health = await new RelayHttpClient({ url, token: null }).health();
    assertEquals(health, { ok: false, kind: "unknown", message: "no answer within 3 s", silent: true });
    if (health.ok) return;
    const error = relayError(health, url);
    assertEquals(error.code, "E_RELAY_UNREACHABLE");
    assertMatch(error.message, /^the relay does not answer: no answer within 3 s/);
  } finally {
    listener.close();
  }
});

Deno.test("what a relay refuses is called by its reason: nobody can be meant, it is not there, or refused", async () => {
  await withTempDir(async (dir) => {
    const relay = await testRelay(dir);
    const http = httpOf(relay);
    const send = (to: string, more = {}) => http.send({ from: "me", to, body: "x", ...more });
    const refusals = [
      [await send("label:a b"), "E_UNPROCESSABLE", "E_TARGET"],
      [await http.receipt(77), "E_NOT_FOUND", "E_NOT_FOUND"],
      [await send("a", { meta: "no object" as never }), "E_BAD_REQUEST", "E_RELAY_REFUSED"],
    ] as const;
    for (const [result, told, code] of refusals) {
      assert(!result.ok && result.kind === "rejected", JSON.stringify(result));
      assertEquals([result.code, relayError(result, relay.url).code], [told, code]);
    }
    await relay.stop();
  });
});

Deno.test("a server that is no relay is called so, whatever its status", async () => {
  for (const status of [200, 404, 501]) {
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("<html>", { status, headers: { "content-type": "text/html" } }),
    );
    const url = `http://127.0.0.1:${server.addr.port}`;
    const listed = await new RelayHttpClient({ url, token: null }).listAgents();
    await server.shutdown();
    assertEquals(listed.ok, false);
    if (listed.ok) return;
    const { code, hint } = relayError(listed, url);
    assertEquals([code, hint], ["E_RELAY_REPLY", "is this the address of an agent relay?"], String(status));
  }
});
