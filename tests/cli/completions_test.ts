import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { splitBashLine } from "../../lib/cli/completions/bash_line.ts";
import { type Wanted, wantedAt } from "../../lib/cli/completions/candidates.ts";
import { namesOf } from "../../lib/cli/completions/names.ts";
import { parseCommandLine } from "../../lib/cli/parse.ts";
import { VERBS } from "../../lib/cli/table.ts";
import type { AgentCard } from "../../lib/protocol/message.ts";
import { testCard } from "../support/rows.ts";

/** Values that are offered for a word that is not begun yet. */
function offered(...words: string[]): string[] {
  const wanted = wantedAt(words);
  return wanted.kind === "words" ? wanted.words.map(({ value }) => value) : [`(${wanted.kind})`];
}

const SHOWN = VERBS.filter(({ hidden }) => !hidden);

Deno.test("wantedAt() offers every verb that help shows, with its summary, and no other", () => {
  const wanted = wantedAt(["runner", ""]) as Wanted & { kind: "words" };
  assertEquals(wanted.words, SHOWN.map(({ name, summary }) => ({ value: name, description: summary })));
  assertEquals(offered("runner", "-"), ["--help", "--version"]);
  assertEquals(offered("runner", "help", ""), SHOWN.map(({ name }) => name));
  assertEquals(offered("runner", "--help", ""), SHOWN.map(({ name }) => name));
  for (const { name } of VERBS.filter(({ hidden }) => hidden)) assertEquals(offered("runner", name, "-"), []);
});

Deno.test("wantedAt() offers for every verb the flags that it has, but for hidden ones, with their help", () => {
  for (const spec of SHOWN) {
    const wanted = wantedAt(["runner", spec.name, "--"]) as Wanted & { kind: "words" };
    const flags = spec.flags.filter(({ hidden }) => hidden !== true);
    assertEquals(wanted.words, flags.map(({ name, help }) => ({ value: `--${name}`, description: help })));
  }
  assertEquals(offered("runner", "relay", "--").includes("--claim-lease"), false);
});

Deno.test("wantedAt() offers no flag twice, however it was given", () => {
  for (const given of [["--follow"], ["-f"]]) {
    assertEquals(offered("runner", "logs", ...given, "-").includes("--follow"), false);
  }
  for (const given of [["--approval", "open"], ["--approval=open"], ["--approval-mode", "open"]]) {
    assertEquals(offered("runner", "claude", ...given, "-").includes("--approval"), false);
    assertEquals(offered("runner", "claude", ...given, "--approval="), []);
  }
});

Deno.test("wantedAt() offers the values of every choice in both spellings, and each of them parses", () => {
  let checked = 0;
  for (const spec of SHOWN) {
    const words = spec.positionals.filter(({ required }) => required).map(() => "x");
    for (const flag of spec.flags) {
      if (flag.kind !== "choice") continue;
      for (const typed of [flag.name, ...flag.aliases ?? []].map((name) => `--${name}`)) {
        assertEquals(offered("runner", spec.name, typed, ""), [...flag.choices]);
        const joined = offered("runner", spec.name, `${typed}=`);
        assertEquals(joined, flag.choices.map((choice) => `${typed}=${choice}`));
        for (const word of joined) parseCommandLine([spec.name, ...words, word]);
        checked += joined.length;
      }
    }
  }
  assert(checked >= 20, String(checked));
});

Deno.test("wantedAt() offers the words that a verb begins with, and files where files belong", () => {
  assertEquals(offered("runner", "dead", ""), ["list", "show", "retry", "drop"]);
  assertEquals(offered("runner", "dead", "--all", ""), ["list", "show", "retry", "drop"]);
  assertEquals(offered("runner", "dead", "retry", ""), []);
  assertEquals(offered("runner", "config", "--relay-url", "http://x", ""), ["claude", "codex", "echo"]);
  assertEquals(offered("runner", "completions", ""), ["bash", "zsh", "fish"]);
  assertEquals(offered("runner", "claude", "--prompt-file", ""), ["(files)"]);
  assertEquals(offered("runner", "claude", "--prompt-file=x/"), ["(files)"]);
  assertEquals(offered("runner", "claude", "--cwd", ""), ["(directories)"]);
  assertEquals(offered("runner", "claude", "--cwd", "x", "--cwd="), []);
});

Deno.test("wantedAt() offers nothing after --, for free values, unknown verbs and unknown flags", () => {
  assertEquals(offered("runner", "claude", "--", "--"), []);
  assertEquals(offered("runner", "send", "--", ""), []);
  assertEquals(offered("runner", "claude", "--prompt", "--"), []);
  assertEquals(offered("runner", "claude", "--json="), []);
  assertEquals(offered("runner", "clade", "-"), []);
  assertEquals(offered("runner", "constructor", "-"), []);
  assertEquals(offered("runner", "--headless", "-"), []);
  assertEquals(offered("runner", "send", "label:api", ""), []);
});

Deno.test("wantedAt() offers flags for an empty word once every other word is there", () => {
  assertStringIncludes(offered("runner", "claude", "").join(" "), "--headless");
  assertEquals(offered("runner", "version", ""), ["--json", "--help"]);
  assertEquals(offered("runner", "config", "echo", "extra"), []);
});

Deno.test("wantedAt() takes the provider from the program's name, as the parser does", () => {
  assertEquals(offered("codex-relay", ""), offered("runner", ""));
  const flags = offered("/opt/bin/claude-relay", "-");
  assertEquals(flags.slice(0, 2), ["--help", "--version"]);
  assertEquals(flags.filter((each) => each === "--help").length, 1);
  assert(flags.includes("--headless"));
  assertEquals(offered("codex-relay", "--headless", "--output", ""), ["text", "jsonl"]);
  assertEquals(offered("codex-relay", "--output=").length, 2);
  assertEquals(offered("codex-relay", "dead", ""), offered("runner", "dead", ""));
});

Deno.test("wantedAt() asks for the names of agents where the table says so, with the flags given", () => {
  const wanted = (...words: string[]) => {
    const answer = wantedAt(["runner", ...words]);
    assert(answer.kind === "names", JSON.stringify(answer));
    return [answer.names, answer.prefix];
  };
  for (const verb of ["stop", "restart", "attach"]) assertEquals(wanted(verb, ""), ["running", ""]);
  for (const verb of ["status", "logs"]) assertEquals(wanted(verb, ""), ["agent", ""]);
  assertEquals(wanted("send", "--until", "seen", ""), ["target", ""]);
  assertEquals(wanted("dead", "list", "--agent", ""), ["agent", ""]);
  assertEquals(wanted("agents", "--label="), ["label", "--label="]);
  const answer = wantedAt(["runner", "stop", "--relay-url=http://x", "--token-file", "f", "--hard", ""]);
  assertEquals(
    answer.kind === "names" && answer.flags,
    { "relay-url": "http://x", "token-file": "f", hard: true },
  );
});

Deno.test("splitBashLine() gives words without their quoting, and tells what a redirection goes to", () => {
  const rows: [string, string[], boolean][] = [
    ["runner send label:a", ["runner", "send", "label:a"], false],
    ["runner send ", ["runner", "send", ""], false],
    ["runner  --until=se", ["runner", "--until=se"], false],
    [`runner send "label:a b`, ["runner", "send", "label:a b"], false],
    [`runner send 'a\\'b`, ["runner", "send", "a\\b"], false],
    [`runner lab\\:a "x\\"y" ''`, ["runner", "lab:a", `x"y`, ""], false],
    ["runner a\\\n b", ["runner", "a", "b"], false],
    ["runner send x > out", ["runner", "send", "x", "out"], true],
    ["runner send 2>err x", ["runner", "send", "x"], false],
    ["runner send x &> ", ["runner", "send", "x", ""], true],
    ["runner send <in x <", ["runner", "send", "x", ""], true],
    ["runner send 'a>b", ["runner", "send", "a>b"], false],
    ["", [""], false],
  ];
  for (const [line, words, redirected] of rows) {
    assertEquals(splitBashLine(line), { words, redirected }, line);
  }
});

Deno.test("namesOf() gives ids and labels, for a target also tags, capabilities and broadcast, each once", () => {
  const cards = [
    testCard("a", { label: "api", tags: ["claude"], capabilities: ["review", "lifecycle.heartbeat"] }),
    testCard("b", { label: "api", tags: ["claude"], status: "busy" }),
    testCard("c", { label: "old", tags: ["gone"], status: "offline" }),
  ];
  const lines = (...args: Parameters<typeof namesOf>) =>
    namesOf(...args).map(({ value, description }) => `${value} ${description}`);
  assertEquals(lines("running", cards), ["label:api 2 agents", "a label:api, idle", "b label:api, busy"]);
  assertEquals(lines("agent", cards), [
    "label:api 2 agents",
    "label:old c, offline",
    "a label:api, idle",
    "b label:api, busy",
    "c label:old, offline",
  ]);
  assertEquals(lines("target", cards), [
    "label:api 2 agents",
    "tag:claude 2 agents",
    "cap:review a, idle",
    "broadcast 2 agents",
    "a label:api, idle",
    "b label:api, busy",
  ]);
  assert(lines("target", cards, { queue: true }).includes("label:old c, offline"));
  const bare = { ...testCard("d"), label: null, tags: null, capabilities: undefined } as unknown as AgentCard;
  assertEquals(lines("target", [bare]), ["broadcast d, idle", "d idle"]);
  assertEquals(lines("label", cards), ["api 2 agents", "old c, offline"]);
  assertEquals(lines("tag", cards), ["claude 2 agents", "gone c, offline"]);
  assertEquals(lines("cap", cards), ["review a, idle"]);
});

Deno.test("namesOf() leaves out what is no identifier, whatever a relay says", () => {
  const bad = ["$(id)", "--hard", "a b", "a\x1b[2J", ":files", "a\tb", "a;b", "`x`", "", "é"];
  const cards = bad.map((text) => testCard(text, { label: text, tags: [text], capabilities: [text] }));
  for (const names of ["agent", "running", "label", "tag", "cap"] as const) {
    assertEquals(namesOf(names, cards), []);
  }
  assertEquals(namesOf("target", cards).map(({ value }) => value), ["broadcast"]);
});
