import { assertEquals } from "@std/assert";
import { AnswerCount } from "../../lib/providers/codex/answers.ts";

/** Counts the answers of a turn: `u` is a token usage, `s` something spoken, a number a call with that id. */
function counted(events: string): number[] {
  let count = 0;
  const answers = new AnswerCount(() => count++);
  return events.split("").map((event) => {
    if (event === "u") answers.usage();
    else if (event === "s") answers.item("agentMessage", "m");
    else answers.item("commandExecution", event);
    return count;
  });
}

Deno.test("an answer counts with its usage, and what a tool call asks for counts at once", () => {
  assertEquals(counted("su"), [0, 1]);
  assertEquals(counted("1u"), [0, 2], "the call, then its usage: the next answer is asked for");
  assertEquals(counted("u1"), [1, 2], "in the other order");
  assertEquals(counted("1usu"), [0, 2, 2, 2], "the answer that was counted ahead is not counted again");
  assertEquals(counted("1u2usu"), [0, 2, 2, 3, 3, 3]);
});

Deno.test("several calls of one answer ask for one more, and the end of a call is none", () => {
  assertEquals(counted("12u"), [0, 0, 2]);
  assertEquals(counted("u12"), [1, 2, 2]);
  assertEquals(counted("11u11"), [0, 0, 2, 2, 2]);
  assertEquals(counted("uu"), [1, 2], "two answers without a call");
});
