import { assertEquals } from "@std/assert";
import { LastWords } from "../../lib/providers/last_words.ts";

Deno.test("last words are the last line, or the error with what follows it, and have a bound", () => {
  const of = (...lines: string[]) => {
    const words = new LastWords();
    for (const line of lines) words.take(line);
    return words.text;
  };
  assertEquals(of(), "");
  assertEquals(of("one", "  two ", ""), "two");
  assertEquals(of("warning", "Error: no such thing", "in `place`", ""), "Error: no such thing in `place`");
  assertEquals(of("error: first", "error: second"), "error: second");
  assertEquals(of("errors are fine", "\x1b[31mred"), "red");
  assertEquals(of("error", ...Array.from({ length: 1_000 }, () => "word")).length <= 4_001, true);
});
