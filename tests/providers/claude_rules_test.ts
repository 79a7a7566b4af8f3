import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { RunnerError } from "../../lib/base/errors.ts";
import { headlessArguments, interactiveArguments, settingsOf } from "../../lib/providers/claude/arguments.ts";
import { classify as claudeFailure } from "../../lib/providers/claude/failure.ts";
import { TranscriptFollower } from "../../lib/providers/claude/follower.ts";
import { checkArguments, splitArguments } from "../../lib/providers/claude/own_arguments.ts";
import { merge } from "../../lib/providers/claude/settings_file.ts";
import { ClaudeStream } from "../../lib/providers/claude/stream.ts";
import { probeTranscripts, type Row } from "../../lib/providers/claude/transcript.ts";
import { classify as codexFailure } from "../../lib/providers/codex/failure.ts";
import type { ApprovalMode, ProviderEvent } from "../../lib/providers/contract.ts";
import { ConversationMemory } from "../../lib/providers/conversation_memory.ts";
import { withTempDir } from "../support/temp.ts";

const ID = "11111111-0000-5000-8000-000000000001";
const kinds = (events: ProviderEvent[]) =>
  events.map((event) =>
    event.type === "evidence" ? event.stage : event.type === "failed" ? event.failure : event.type
  );

Deno.test("Claude's arguments are golden for every mode, and a person's --settings is taken out to be merged", () => {
  const conversation = { kind: "resume", sessionId: "S" } as const;
  assertEquals(
    headlessArguments(
      {
        agentId: "agent",
        approval: "read-only",
        args: ["--model", "m", "--settings", "x"],
        once: false,
        maxTurns: 5,
        maxCostUsd: null,
      },
      conversation,
      "/f",
    ),
    [
      "-p",
      "--input-format",
      "stream-json",
      "--output-format",
      "stream-json",
      "--verbose",
      "--replay-user-messages",
      "--permission-prompt-tool",
      "stdio",
      "--permission-mode",
      "dontAsk",
      "--allowedTools=Read,Grep,Glob",
      "--resume",
      "S",
      "--settings",
      "/f",
      "--model",
      "m",
    ],
  );
  const options = { settingsFile: null, socketPath: "/s" };
  assertEquals(
    interactiveArguments(
      { agentId: "agent", approval: "open", args: ["--continue", "-w"], opening: true },
      { kind: "new", sessionId: "N" },
      options,
    ),
    [
      "--permission-mode",
      "bypassPermissions",
      "--messaging-socket-path",
      "/s",
      "--continue",
      "-w",
      "agent",
    ],
  );
  assertEquals(merge({ a: { x: 1, l: [1] }, b: 1 }, { a: { y: 2, l: [2] }, b: 2 }), {
    a: { x: 1, y: 2, l: [1, 2] },
    b: 2,
  });
});

Deno.test("Claude's stream: placed, seen and done need their own proof, and completed without a turn is none", () => {
  const events: ProviderEvent[] = [];
  const stream = new ClaudeStream((event) => events.push(event), null);
  stream.handed(ID, "text");
  stream.take({ type: "command_lifecycle", command_uuid: ID, state: "queued" });
  stream.take({ type: "command_lifecycle", command_uuid: ID, state: "completed" });
  stream.take({ type: "assistant", message: { model: "<synthetic>", content: [] } });
  assertEquals(kinds(events), ["placed"]);
  stream.take({
    type: "assistant",
    uuid: "u",
    message: { model: "m", content: [{ type: "text", text: "hi" }] },
  });
  stream.take({ type: "result", is_error: false, result: "hi", user_message_uuids: [ID] });
  assertEquals(kinds(events), ["placed", "seen", "turn", "output", "done"]);
});

Deno.test("Claude's stream: a result that says success with is_error is a failed turn of the provider", () => {
  const events: ProviderEvent[] = [];
  const stream = new ClaudeStream((event) => events.push(event), null);
  stream.handed(ID, "text");
  stream.take({ type: "command_lifecycle", command_uuid: ID, state: "started" });
  stream.take({
    type: "result",
    subtype: "success",
    is_error: true,
    api_error_status: 401,
    result: "no",
    user_message_uuids: [ID],
  });
  stream.take({ type: "result", is_error: false, result: "late", user_message_uuids: [ID] });
  assertEquals(kinds(events), ["placed", "provider"]);
});

Deno.test("Claude's stream: a turn that ends without error and without the model has refused its message", () => {
  const events: ProviderEvent[] = [];
  const stream = new ClaudeStream((event) => events.push(event), null);
  stream.handed(ID, "text");
  stream.take({ type: "command_lifecycle", command_uuid: ID, state: "started" });
  // What 2.1.330 writes of a prompt that a UserPromptSubmit hook blocks.
  stream.take({ type: "result", is_error: false, result: "blocked by a rule", user_message_uuids: [ID] });
  assertEquals(events.slice(1), [
    { type: "failed", deliveryIds: [ID], failure: "message", reason: "blocked by a rule" },
  ]);
  // A command of Claude's own, as a person's prompt: /cost needs no model (2.1.330).
  stream.handed(ID, "/cost");
  stream.take({ type: "command_lifecycle", command_uuid: ID, state: "started" });
  stream.take({ type: "result", is_error: false, result: "$0.00", user_message_uuids: [ID] });
  assertEquals(kinds(events.slice(2)), ["placed", "output", "done"]);
});

Deno.test("Claude's transcript: queue rows prove nothing, a steered message is found, Esc cancels", () => {
  const events: ProviderEvent[] = [];
  const follower = new TranscriptFollower((event) => events.push(event));
  const feed = (...rows: Row[]) => rows.forEach((row) => follower.take(row, "C"));
  follower.handed(ID, "text", null);
  feed({ type: "queue-operation" }, {
    type: "assistant",
    message: { stop_reason: "end_turn", content: "of another turn" },
  });
  assertEquals(events, []);
  feed(
    { type: "attachment", attachment: { type: "queued_command", source_uuid: ID } },
    { type: "assistant", isSidechain: true, message: { stop_reason: "end_turn", content: "of a helper" } },
    { type: "assistant", message: { stop_reason: "tool_use", content: [] } },
    { type: "assistant", message: { stop_reason: "end_turn", content: [{ type: "text", text: "done" }] } },
  );
  assertEquals(kinds(events), ["placed", "seen", "done"]);
  follower.handed("second", "text", null);
  feed({ type: "user", uuid: "second" }, {
    type: "user",
    message: { content: [{ type: "text", text: "[Request interrupted by user]" }] },
  });
  assertEquals(kinds(events).slice(3), ["placed", "cancelled"]);
});

Deno.test("Claude's transcript: a prompt that a hook refused is told of, and only that one", () => {
  const events: ProviderEvent[] = [];
  const follower = new TranscriptFollower((event) => events.push(event));
  // A row of 2.1.330, cut to what matters.
  const blocked = (text: string, kind = "blocked_by_hook"): Row => ({
    type: "system",
    content: `UserPromptSubmit operation blocked by hook:\n[rule]: not here\n\n\nOriginal prompt: ${text}`,
    promptSubmitEnding: { ending: { kind, reason: "not here" } },
  });
  follower.handed(ID, "ours", null);
  follower.take(blocked("the person's"), "C");
  follower.take(blocked("ours", "something else"), "C");
  assertEquals(events, []);
  follower.take(blocked("ours"), "C");
  assertEquals(events, [
    { type: "failed", deliveryIds: [ID], failure: "message", reason: "a hook refused it: not here" },
  ]);
  assertEquals(follower.has(ID), false);
});

Deno.test("failures are told apart: provider, message, transient, cancelled", () => {
  assertEquals(claudeFailure({ status: 401, text: "" }), "provider");
  assertEquals(claudeFailure({ text: "Claude usage limit reached" }), "provider");
  for (
    const text of [
      "You've hit your session limit · resets 3am (UTC)",
      "You've hit your weekly Opus limit",
      "API Error: Request rejected (429) · try again later",
      "There's an issue with the selected model (no-such). It may not exist or you may not have access to it.",
      "This organization has been disabled.",
      "API Error: 400 due to tool use concurrency: `tool_use` ids were found without `tool_result` blocks",
    ]
  ) {
    assertEquals(claudeFailure({ status: 400, text }), "provider", text);
  }
  assertEquals(claudeFailure({ status: 402, text: "" }), "provider");
  assertEquals(claudeFailure({ status: 400, text: "Prompt is too long" }), "message");
  assertEquals(claudeFailure({ status: 529, text: "overloaded" }), "transient");
  assertEquals(claudeFailure({ terminalReason: "aborted_streaming", text: "" }), "cancelled");
  assertEquals(
    codexFailure({ codexErrorInfo: { httpConnectionFailed: { httpStatusCode: 401 } } }),
    "provider",
  );
  assertEquals(codexFailure({ codexErrorInfo: "contextWindowExceeded" }), "message");
  assertEquals(
    codexFailure({ codexErrorInfo: { responseStreamDisconnected: { httpStatusCode: null } } }),
    "transient",
  );
  assertEquals(
    codexFailure({ message: "unexpected status 401 Unauthorized", codexErrorInfo: "other" }),
    "provider",
  );
  assertEquals(codexFailure(null), "transient");
});

Deno.test("Claude's arguments: a choice of the conversation and a prompt are for the opening, the rest for every start", () => {
  const split = (...args: string[]) => {
    const { opening, later, choice, prompt } = splitArguments(args);
    assertEquals(opening, args);
    return [later.join(" "), choice, prompt];
  };
  assertEquals(split("--model", "m", "do work"), ["--model m", null, "do work"]);
  assertEquals(split("do", "--verbose", "work"), ["--verbose", null, "do"]);
  assertEquals(split("--ide", "do work"), ["--ide", null, "do work"]);
  assertEquals(split("--continue", "do work"), ["", "--continue", "do work"]);
  assertEquals(split("-r", "ID", "-n", "name"), ["-n name", "-r", null]);
  assertEquals(split("--resume", "--model", "m"), ["--model m", "--resume", null]);
  assertEquals(split("--resume=ID", "--fork-session"), ["", "--resume", null]);
  assertEquals(split("--session-id", "ID", "--debug", "api"), ["--debug api", "--session-id", null]);
  assertEquals(split("--debug", "--add-dir", "a", "b", "--chrome", "go"), [
    "--debug --add-dir a b --chrome",
    null,
    "go",
  ]);
  assertEquals(split("--append-system-prompt", "-short", "--", "-p"), [
    "--append-system-prompt -short",
    null,
    "-p",
  ]);
  // One that is not known is taken for one with a value: a restart must not lose it.
  assertEquals(split("--from-tomorrow", "value", "go"), ["--from-tomorrow value", null, "go"]);
  // A tree that Claude named by chance would be another one at every start.
  const trees = (...args: string[]) => splitArguments(args, "agent").later.join(" ");
  assertEquals(trees("--worktree", "--ide"), "--worktree agent --ide");
  assertEquals([trees("--worktree", "own"), trees("--worktree=own")], ["--worktree own", "--worktree=own"]);
  assertEquals(splitArguments(["--settings=a", "b", "--settings", "c", "-p"]), {
    opening: ["b", "-p"],
    later: ["-p"],
    settings: "c",
    choice: null,
    permissionMode: null,
    prompt: "b",
    flags: ["--settings", "--settings", "-p"],
  });
});

Deno.test("Claude's arguments that cannot work under a runner are refused with what to use instead", () => {
  const check = (headless: boolean, approval: ApprovalMode, ...args: string[]) =>
    checkArguments({ args, env: {}, headless, approval });
  const refused = (headless: boolean, ...args: string[]) => {
    const { code, message, hint } = assertThrows(() => check(headless, "guarded", ...args), RunnerError);
    assertEquals(code, "E_PROVIDER_CMD");
    return `${message}: ${hint}`;
  };
  assertEquals(refused(false, "--bg"), "claude --bg leaves the runner: use --detach, or --headless");
  assertEquals(
    refused(true, "do work"),
    'headless claude does not take "do work": a first prompt is --prompt TEXT',
  );
  assertEquals(refused(true, "-c"), "headless claude does not take -c: use --conversation ID");
  assertEquals(
    refused(true, "--output-format", "json"),
    "headless claude does not take --output-format: use --output jsonl",
  );
  check(false, "guarded", "--continue", "do work");
  check(true, "guarded", "-p", "--model", "m");
  check(true, "guarded", "--permission-mode", "plan");
  assertThrows(
    () => check(true, "read-only", "--permission-mode=plan"),
    RunnerError,
    "permission mode plan and --approval read-only exclude each other",
  );
});

Deno.test("a Claude of a terminal that would write no transcript is refused, one without a terminal needs none", () => {
  const check = (headless: boolean, value: string) => () =>
    checkArguments({
      args: [],
      env: { CLAUDE_CODE_SKIP_PROMPT_HISTORY: value },
      headless,
      approval: "guarded",
    });
  const { code, message, hint } = assertThrows(check(false, "1"), RunnerError);
  assertEquals([code, hint], ["E_PROVIDER_CMD", "unset it, or use --headless"]);
  assertStringIncludes(message, "CLAUDE_CODE_SKIP_PROMPT_HISTORY leaves no record");
  check(true, "1")();
  check(false, "")();
  check(false, "0")();
});

Deno.test("the person's own word for open accepts messages as that mode does, and leaves them the dialog that warns of it", () => {
  const accept = { crossSessionInbound: "accept" };
  assertEquals(settingsOf({ approval: "open", args: [] }), {
    skipDangerousModePermissionPrompt: true,
    ...accept,
  });
  for (const args of [["--dangerously-skip-permissions"], ["--permission-mode", "bypassPermissions"]]) {
    assertEquals(settingsOf({ approval: "guarded", args }), accept);
  }
  assertEquals(settingsOf({ approval: "guarded", args: ["--permission-mode", "plan"] }), {});
});

Deno.test("a delivery of an earlier run is found in the conversation that it went to, whichever is open now", async () => {
  await withTempDir(async (dir) => {
    const launch = { env: { CLAUDE_CONFIG_DIR: dir }, cwd: "/work" };
    const projects = join(dir, "projects", "-work");
    Deno.mkdirSync(projects, { recursive: true });
    const row = (value: unknown) => JSON.stringify(value) + "\n";
    Deno.writeTextFileSync(
      join(projects, "left.jsonl"),
      row({ type: "user", uuid: ID, message: { content: "hello" } }) +
        row({ type: "assistant", uuid: "a", message: { stop_reason: "end_turn", content: "answered" } }),
    );
    Deno.writeTextFileSync(
      join(projects, "open.jsonl"),
      row({ type: "user", uuid: "x", message: { content: "y" } }),
    );
    const memory = new ConversationMemory(dir);
    memory.note("left");
    memory.note("open");
    const { ids } = new ConversationMemory(dir);
    assertEquals(ids, ["open", "left"]);
    const states = async (conversations: readonly string[]) =>
      [...await probeTranscripts(launch, conversations, [ID, "other"])].map(([id, { state }]) => [id, state]);
    assertEquals(await states(["open"]), [[ID, "absent"], ["other", "absent"]]);
    assertEquals(await states(["gone", ...ids]), [[ID, "done"], ["other", "absent"]]);
  });
});
