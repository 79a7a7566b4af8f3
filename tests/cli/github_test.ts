import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import type { Io } from "../../lib/cli/contract.ts";
import {
  escapeData,
  escapeProperty,
  GithubActions,
  stepOutputs,
  stepSummary,
  workflowCommand,
} from "../../lib/cli/run/github.ts";
import { withoutOldCommands } from "../../lib/cli/github_commands.ts";
import type { RunResult } from "../../lib/cli/run/result.ts";
import { withTempDir } from "../support/temp.ts";

const RESULT: RunResult = {
  version: 1,
  outcome: "failed",
  exitCode: 1,
  signal: null,
  error: { code: "E_TURN_FAILED", message: "it\nfailed: 100%", hint: null },
  provider: { name: "claude", exitCode: 1, signal: null },
  agentId: "host-claude",
  runnerId: "r",
  relayUrl: null,
  conversation: null,
  turns: 2,
  costUsd: 0.25,
  messages: { done: 0, failed: 1, dead: 0, open: 0 },
  startedAt: "2026-01-01T00:00:00.000Z",
  durationMs: 1500,
  text: "the answer",
  runnerVersion: "0.1.0",
};

function recorder(env: Record<string, string> = {}) {
  const io = {
    stdout: "",
    stderr: "",
    out: (text: string) => void (io.stdout += text),
    err: (text: string) => void (io.stderr += text),
    outGone: false,
    outIsTerminal: false,
    errIsTerminal: false,
    color: false,
    env,
    cwd: "/",
    readStdin: () => Promise.resolve(""),
  };
  return io satisfies Io & { stdout: string; stderr: string };
}

/** What GitHub's runner obeys in a log: commands at the start of a line, none between guards. */
function obeyed(log: string): string[] {
  const commands: string[] = [];
  let guard: string | null = null;
  for (const line of log.split("\n")) {
    const match = /^\s*::([\w-]+)(?: [^:]*)?::(.*)$/.exec(line);
    if (guard !== null) {
      if (line.trim() === `::${guard}::`) guard = null;
      continue;
    }
    if (match?.[1] === "stop-commands") guard = match[2]!;
    else if (match) commands.push(match[1]!);
    if (/##\[[^\]]+\]/.test(line)) commands.push("old form");
  }
  return commands;
}

Deno.test("workflow commands escape what would end or split them", () => {
  assertEquals(escapeData("a%b\r\nc:,"), "a%25b%0D%0Ac:,");
  assertEquals(escapeProperty("a%b\r\nc:,"), "a%25b%0D%0Ac%3A%2C");
  assertEquals(escapeData("%0A"), "%250A", "an escape that is there already is text");
  assertEquals(workflowCommand("error", "x\ny", { title: "a: b, c" }), "::error title=a%3A b%2C c::x%0Ay\n");
  assertEquals(workflowCommand("add-mask", "t"), "::add-mask::t\n");
});

Deno.test("nothing the agent says is obeyed, and every command of ours is", () => {
  const attacks = [
    "::set-output name=x::y\n",
    "::error::fake",
    "\n::add-mask::a\n::stop-commands::mine\n",
    "::agent-output-0000::\n::error::late\n",
    "  ::warning::indented\n",
    "##[error]old\n",
    "text ##[add-path]/tmp/evil\n",
  ];
  for (const attack of attacks) assert(obeyed(attack).length > 0, `without guards it is obeyed: ${attack}`);
  const guarded = recorder();
  const github = new GithubActions(guarded, "text");
  for (const attack of attacks) github.output(attack);
  github.warn("careful");
  github.ended(RESULT, null);
  assertEquals(obeyed(guarded.stdout), ["warning", "error"]);
  for (const attack of attacks) assertStringIncludes(guarded.stdout, attack);
  assertStringIncludes(
    guarded.stdout,
    "::error title=claude%3A failed::E_TURN_FAILED: it%0Afailed: 100%25\n",
  );
});

Deno.test("each run has a guard of its own, and text without a newline does not swallow its end", () => {
  const tokens = [0, 1].map(() => {
    const io = recorder();
    const github = new GithubActions(io, "text");
    github.output("no newline");
    github.ended({ ...RESULT, exitCode: 0, outcome: "succeeded" }, null);
    const token = /::stop-commands::(agent-output-[0-9a-f]{32})\n/.exec(io.stdout)![1]!;
    assertEquals(io.stdout, `::stop-commands::${token}\nno newline\n::${token}::\n`);
    return token;
  });
  assert(tokens[0] !== tokens[1]);
});

Deno.test("in jsonl mode standard output stays JSON: commands go to standard error", () => {
  const io = recorder();
  const github = new GithubActions(io, "jsonl");
  github.mask(["secret-one"]);
  github.ended(RESULT, null);
  assertEquals(io.stdout, "");
  assertMatch(io.stderr, /^::add-mask::secret-one\n::error /);
  const line = JSON.stringify({ text: "a ##[error]b" });
  const safe = withoutOldCommands(line, "json");
  assertEquals(obeyed(safe), []);
  assertEquals(JSON.parse(safe), JSON.parse(line));
});

Deno.test("the step summary shows the text in a fence it cannot close, and markup nowhere else", () => {
  const summary = stepSummary({
    ...RESULT,
    text: "before\n````\n# not a heading\n```\n",
    error: { code: "E_X", message: "a | b <script>\n# c", hint: null },
  });
  const fence = /\n(`{5,})text\n/.exec(summary)![1]!;
  assertEquals(summary.split(fence).length, 3, "opened once and closed once");
  assertStringIncludes(summary, "| Error | E&#95;X: a &#124; b &#60;script&#62; &#35; c |");
  assertStringIncludes(summary, "| Cost | 0.2500 USD |");
});

Deno.test("step outputs cannot be extended by the agent's text, and files are appended to", async () => {
  await withTempDir((dir) => {
    const text = "x\nend-1\nexit-code=0";
    const outputs = stepOutputs({ ...RESULT, text, conversation: "c\nx=1" }, "/tmp/r.json", "end-0123");
    assertEquals(
      outputs,
      `outcome=failed\nexit-code=1\nconversation<<end-0123\nc\nx=1\nend-0123\nresult<<end-0123\n/tmp/r.json\nend-0123\ntext<<end-0123\n${text}\nend-0123\n`,
    );
    const env = { GITHUB_OUTPUT: join(dir, "out"), GITHUB_STEP_SUMMARY: join(dir, "summary") };
    Deno.writeTextFileSync(env.GITHUB_OUTPUT, "earlier=1\n");
    new GithubActions(recorder(env), "text").ended(RESULT, null);
    const [, delimiter] = /text<<(end-[0-9a-f]{32})\n/.exec(Deno.readTextFileSync(env.GITHUB_OUTPUT))!;
    assertEquals(
      Deno.readTextFileSync(env.GITHUB_OUTPUT),
      `earlier=1\noutcome=failed\nexit-code=1\ntext<<${delimiter}\nthe answer\n${delimiter}\n`,
    );
    assertMatch(Deno.readTextFileSync(env.GITHUB_STEP_SUMMARY), /^### claude: failed\n/);
    const io = recorder({ GITHUB_OUTPUT: join(dir, "no/such/dir/out") });
    new GithubActions(io, "text").ended({ ...RESULT, exitCode: 0 }, null);
    assertMatch(io.stderr, /GITHUB_OUTPUT cannot be written/);
  });
});

Deno.test("a summary has room for any number of backticks, and its fence is longer than each run of them", () => {
  const text = "` ``` ".repeat(100_000);
  const summary = stepSummary({ ...RESULT, text });
  assertStringIncludes(summary, "\n````text\n");
});
