import { assert, assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import { TOOLS } from "../../lib/protocol/tools.ts";
import { DynamicTools } from "../../lib/providers/codex/dynamic_tools.ts";

const params = (callId: string, turnId = "t1") => ({
  threadId: "x",
  turnId,
  callId,
  tool: "relay_agents",
  arguments: {},
});

/** Tools whose calls end with their signal, unless the test answers them. */
function hanging(): { tools: DynamicTools; signals: AbortSignal[] } {
  const signals: AbortSignal[] = [];
  const port = {
    call: (_name: string, _args: unknown, signal: AbortSignal) => {
      signals.push(signal);
      return new Promise<never>((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    },
  };
  return { tools: new DynamicTools(port, noLog), signals };
}

Deno.test("DynamicTools offers every tool to a thread, and none without a relay", () => {
  const { tools } = hanging();
  const offered = tools.settings.dynamicTools as { type: string; name: string }[];
  assertEquals(offered.map(({ type, name }) => [type, name]), TOOLS.map(({ name }) => ["function", name]));
  const none = new DynamicTools(undefined, noLog);
  assertEquals([none.settings, none.answer(params("c1"))], [{}, null]);
});

Deno.test("DynamicTools answers in Codex's words, and leaves tools that are not ours", async () => {
  const tools = new DynamicTools({ call: () => Promise.resolve({ text: "no", isError: true }) }, noLog);
  assertEquals(await tools.answer(params("c1")), {
    success: false,
    contentItems: [{ type: "inputText", text: "no" }],
  });
  assertEquals(tools.answer({ ...params("c2"), tool: "constructor" }), null);
});

Deno.test("DynamicTools carries a call out once, however often it is asked", () => {
  const { tools, signals } = hanging();
  const first = tools.answer(params("c1"));
  assert(first === tools.answer(params("c1")));
  assertEquals(signals.length, 1);
  tools.stop();
});

Deno.test("DynamicTools gives up what a turn that ended still waits for, and everything with Codex", async () => {
  const { tools, signals } = hanging();
  const answers = [tools.answer(params("c1")), tools.answer(params("c2", "t2"))];
  tools.ended("t1");
  assertEquals(signals.map(({ aborted }) => aborted), [true, false]);
  tools.stop();
  assertEquals(signals.map(({ aborted }) => aborted), [true, true]);
  for (const answer of await Promise.all(answers)) {
    assertEquals((answer as { success: boolean }).success, false);
  }
});
