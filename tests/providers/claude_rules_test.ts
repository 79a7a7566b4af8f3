import { assertEquals } from "@std/assert";
import {
  headlessArguments,
  interactiveArguments,
  withoutSettings,
} from "../../lib/providers/claude/arguments.ts";
import { classify as claudeFailure } from "../../lib/providers/claude/failure.ts";
import { TranscriptFollower } from "../../lib/providers/claude/follower.ts";
import { merge } from "../../lib/providers/claude/settings_file.ts";
import { ClaudeStream } from "../../lib/providers/claude/stream.ts";
import type { Row } from "../../lib/providers/claude/transcript.ts";
import { classify as codexFailure } from "../../lib/providers/codex/failure.ts";
import type { ProviderEvent } from "../../lib/providers/contract.ts";

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
      { approval: "open", args: ["--continue"] },
      { kind: "new", sessionId: "N" },
      options,
    ),
    [
      "--permission-mode",
      "bypassPermissions",
      "--messaging-socket-path",
      "/s",
      "--continue",
    ],
  );
  assertEquals(withoutSettings(["--settings=a", "b"]), { args: ["b"], settings: "a" });
  assertEquals(merge({ a: { x: 1, l: [1] }, b: 1 }, { a: { y: 2, l: [2] }, b: 2 }), {
    a: { x: 1, y: 2, l: [1, 2] },
    b: 2,
  });
});

Deno.test("Claude's stream: placed, seen and done need their own proof, and completed without a turn is none", () => {
  const events: ProviderEvent[] = [];
  const stream = new ClaudeStream((event) => events.push(event), null);
  stream.handed(ID);
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
  stream.handed(ID);
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

Deno.test("failures are told apart: provider, message, transient, cancelled", () => {
  assertEquals(claudeFailure({ status: 401, text: "" }), "provider");
  assertEquals(claudeFailure({ text: "Claude usage limit reached" }), "provider");
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
