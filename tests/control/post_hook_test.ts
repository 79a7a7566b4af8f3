import { assert, assertEquals, assertRejects } from "@std/assert";
import { postHook } from "../../lib/control/post_hook.ts";
import { freePort } from "../support/temp.ts";

const BODY = new TextEncoder().encode(JSON.stringify({ prompt: "ü".repeat(40_000) }));

Deno.test("postHook() posts the body whole, with token and event, and ends with the answer", async () => {
  const got: { path: string; authorization: string | null; type: string | null; body: Uint8Array }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    got.push({
      path: new URL(request.url).pathname,
      authorization: request.headers.get("authorization"),
      type: request.headers.get("content-type"),
      body: new Uint8Array(await request.arrayBuffer()),
    });
    return new Response("x".repeat(5_000), { status: got.length === 1 ? 200 : 403 });
  });
  try {
    const url = `http://127.0.0.1:${server.addr.port}`;
    for (const event of ["SessionStart", "a/b c"]) {
      await postHook({ url, token: "secret", event, body: BODY }, AbortSignal.timeout(5_000));
    }
    assertEquals(got.map(({ path }) => path), ["/hook/SessionStart", "/hook/a%2Fb%20c"]);
    for (const { authorization, type, body } of got) {
      assertEquals([authorization, type, body], ["Bearer secret", "application/json", BODY]);
    }
  } finally {
    await server.shutdown();
  }
});

Deno.test("postHook() gives up with the signal's reason when the runner does not answer", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const abort = new AbortController();
  const url = `http://127.0.0.1:${listener.addr.port}`;
  const posting = postHook({ url, token: "secret", event: "Stop", body: BODY }, abort.signal);
  const connection = await accepted;
  const reason = new Error("the deadline");
  abort.abort(reason);
  assert(await assertRejects(() => posting) === reason);
  connection.close();
  listener.close();
  const again = () => postHook({ url, token: "secret", event: "Stop", body: BODY }, abort.signal);
  assert(await assertRejects(again) === reason);
});

Deno.test("postHook() rejects when nobody listens, and when the token would add a header", async () => {
  const url = `http://127.0.0.1:${freePort()}`;
  const signal = new AbortController().signal;
  const body = new Uint8Array();
  await assertRejects(
    () => postHook({ url, token: "secret", event: "Stop", body }, signal),
    Deno.errors.ConnectionRefused,
  );
  await assertRejects(
    () => postHook({ url, token: "a\r\nX: y", event: "Stop", body }, signal),
    TypeError,
    "the token has a line break",
  );
});
