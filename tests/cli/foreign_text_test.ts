import { assertEquals } from "@std/assert";
import { foreignText } from "../../lib/cli/foreign_text.ts";
import { withoutCommands } from "../../lib/cli/github_commands.ts";

Deno.test("text of somebody else cannot move the cursor of a terminal, and stays as it is in a pipe", () => {
  const text = "one\ttwo\r\n\x1b[2J\x1b]0;title\x07\u202e three\rfour\n\n\x9b31m";
  assertEquals(foreignText(text, { outIsTerminal: false }), text);
  assertEquals(
    foreignText(text, { outIsTerminal: true }),
    "one\ttwo\n\\x1b[2J\\x1b]0;title\\x07\\u{202e} three\\rfour\n\n\\x9b31m",
  );
});

Deno.test("no line that a verb prints is a command of GitHub's, wherever the text breaks its lines", () => {
  const commands = [
    "::error::x",
    " \t::add-mask::x",
    "a\n::stop-commands::t",
    "a\r::warning::x",
    "a ##[group]x",
  ];
  for (const text of commands) {
    const safe = withoutCommands(text);
    // As GitHub's runner reads a step's output.
    for (const line of safe.split(/\r\n|\r|\n/)) assertEquals(line.trimStart().startsWith("::"), false, text);
    assertEquals(safe.includes("##["), false, text);
    assertEquals(safe.replaceAll("\u200b", ""), text, "nothing is lost but the command");
  }
  assertEquals(withoutCommands("a :: b"), "a :: b");
  const json = JSON.stringify({ body: "##[error] \n::error::x" });
  assertEquals(JSON.parse(withoutCommands(json)), JSON.parse(json));
});
