import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { VERSION } from "../../lib/base/version.ts";
import { helpOf, overview } from "../../lib/cli/help.ts";
import { impliedProvider, parseCommandLine } from "../../lib/cli/parse.ts";
import { PERMISSION_FLAGS } from "../../lib/cli/self_command.ts";
import { VERBS } from "../../lib/cli/table.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const read = (path: string) => Deno.readTextFileSync(join(ROOT, path));

Deno.test("the permission flags are one list everywhere, and nothing runs with all of them", () => {
  const golden = read(".github/permissions.txt").trim().split("\n");
  assertEquals([...PERMISSION_FLAGS], golden);
  const { tasks } = JSON.parse(read("deno.json")) as { tasks: Record<string, { command: string }> };
  let checked = 0;
  for (const [name, { command }] of Object.entries(tasks)) {
    assertEquals(/(?:^|\s)(?:-A|--allow-all|-P)(?:\s|$)/.test(command), false, name);
    for (const call of command.split("&&")) {
      if (!/deno (?:run|test|bench|compile)\b/.test(call)) continue;
      checked++;
      assertEquals(call.match(/--(?:no-prompt|deny-|allow-)\S*/g), golden, name);
    }
  }
  assert(checked >= 5);
  assertEquals(read(".ci/run").includes("deno run -A"), false);
});

Deno.test("the version is the same in deno.json and in the program", () => {
  assertEquals((JSON.parse(read("deno.json")) as { version: string }).version, VERSION);
});

const SCREEN = { lines: 24, columns: 110 };

Deno.test(`help fits ${SCREEN.lines} lines (the overview) and ${SCREEN.columns} columns, examples before options`, () => {
  const screen = overview().trimEnd().split("\n");
  assert(screen.length <= SCREEN.lines, overview());
  for (const line of screen) assert(line.length <= SCREEN.columns, line);
  for (const spec of VERBS.filter((verb) => !verb.hidden)) {
    const text = helpOf(spec);
    for (const line of text.split("\n")) assert(line.length <= SCREEN.columns, `${spec.name}: ${line}`);
    if (spec.examples[0] !== undefined) {
      assert(text.indexOf(spec.examples[0]) < text.indexOf("Options:"), spec.name);
      for (const example of spec.examples) checkExample(example);
    }
  }
});

/** An example that does not parse is worse than none. */
function checkExample(example: string): void {
  const command = example.slice(example.indexOf("runner ") + "runner ".length);
  const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2]!);
  assertEquals(parseCommandLine(words).spec.name, words[0]);
}

Deno.test("no two flags of a verb share a name, and every verb has help", () => {
  for (const spec of VERBS) {
    const names = spec.flags.flatMap((flag) => [flag.name, ...flag.aliases ?? []]);
    assertEquals(new Set(names).size, names.length, spec.name);
    if (!spec.hidden) assert(names.includes("help"), spec.name);
  }
});

Deno.test("a binary named after a provider implies it, unless a verb is given", () => {
  assertEquals(impliedProvider(["/usr/bin/claude-relay"]), "claude");
  assertEquals(impliedProvider(["deno", "C:\\x\\codex-relay.exe"]), "codex");
  assertEquals(impliedProvider(["/usr/bin/runner"]), null);
  assertEquals(parseCommandLine(["--headless"], "claude").invocation.positionals, ["claude"]);
  assertEquals(parseCommandLine([], "codex").invocation.positionals, ["codex"]);
  assertEquals(parseCommandLine(["agents"], "codex").spec.name, "agents");
});

Deno.test("parseCommandLine keeps free text, aliases, and everything after -- as it is", () => {
  const { invocation } = parseCommandLine([
    "claude",
    "--prompt",
    "--settings=/e",
    "--approval-mode=open",
    "--headless",
    "--",
    "--token",
    "x",
    "--label",
  ]);
  assertEquals(invocation.flags, { prompt: "--settings=/e", approval: "open", headless: true });
  assertEquals(invocation.providerArgs, ["--token", "x", "--label"]);
});

Deno.test("the README names the commands that CI runs", () => {
  const readme = read("README.md");
  assertStringIncludes(readme, "npx -y deno@2.9.6 task demo");
  assertStringIncludes(readme, "npx -y deno@2.9.6 task test");
  assertStringIncludes(read(".ci/run"), "task test");
});
