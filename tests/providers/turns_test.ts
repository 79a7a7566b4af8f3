import { assertEquals } from "@std/assert";
import type { ProviderEvent } from "../../lib/providers/contract.ts";
import { headlessArguments } from "../../lib/providers/claude/arguments.ts";
import type { ConversationStart } from "../../lib/providers/claude/conversation.ts";
import { ClaudeStream } from "../../lib/providers/claude/stream.ts";
import { CodexThread } from "../../lib/providers/codex/thread.ts";

const ID = "11111111-0000-5000-8000-000000000001";

function turnsOf(events: ProviderEvent[]): number {
  return events.filter((event) => event.type === "turn").length;
}

Deno.test("Claude's turns are its own answers: one for all blocks of an answer, none for helper agents and API errors", () => {
  const events: ProviderEvent[] = [];
  const stream = new ClaudeStream((event) => events.push(event), null);
  stream.handed(ID, "text");
  const record = (id: string, more: Record<string, unknown> = {}) =>
    stream.take({
      type: "assistant",
      user_message_uuid: ID,
      message: { id, model: "claude", content: [{ type: "text", text: "x" }] },
      ...more,
    });
  record("m1");
  record("m1");
  assertEquals(turnsOf(events), 1);
  record("helper", { parent_tool_use_id: "toolu_1" });
  record("m2");
  assertEquals(turnsOf(events), 2);
  record("m3", { message: { id: "m3", model: "<synthetic>", content: "API Error" } });
  record("m4", { error: "overloaded" });
  assertEquals(turnsOf(events), 2);
});

Deno.test("a limit that Claude kept itself ends the run, with its cost told once", () => {
  for (const subtype of ["error_max_turns", "error_max_budget_usd"]) {
    const events: ProviderEvent[] = [];
    const stream = new ClaudeStream((event) => events.push(event), null);
    stream.handed(ID, "text");
    stream.take({
      type: "result",
      subtype,
      is_error: true,
      errors: ["Reached the limit"],
      user_message_uuid: ID,
      total_cost_usd: 0.25,
    });
    assertEquals(events, [{
      type: "failed",
      deliveryIds: [ID],
      failure: "limit",
      reason: "Reached the limit",
      costUsd: 0.25,
    }]);
    stream.handed("2", "text");
    stream.take({
      type: "assistant",
      uuid: "u",
      user_message_uuid: "2",
      message: { model: "m", content: "x" },
    });
    stream.take({
      type: "result",
      is_error: false,
      user_message_uuid: "2",
      result: "x",
      total_cost_usd: 0.75,
    });
    const last = events.at(-1)!;
    assertEquals(last.type === "done" ? last.costUsd : null, 0.5, "the cost of a process is a running total");
  }
});

Deno.test("Claude is given the limits it keeps better, turns only for a run of one message", () => {
  const conversation: ConversationStart = { kind: "new", sessionId: "S" };
  const limits = (once: boolean) => {
    const args = headlessArguments(
      { agentId: "agent", approval: "guarded", args: [], once, maxTurns: 3, maxCostUsd: 0.5 },
      conversation,
      null,
    );
    const value = (name: string) => args.includes(name) ? args[args.indexOf(name) + 1] : null;
    return [value("--max-turns"), value("--max-budget-usd")];
  };
  assertEquals(limits(true), ["3", "0.5"]);
  assertEquals(limits(false), [null, "0.5"]);
});

Deno.test("Codex's turns: an answer that calls tools counts with the one that must follow, in either order of events", () => {
  const call = { type: "commandExecution", id: "c1" };
  const usage = ["thread/tokenUsage/updated", {}] as const;
  const started = ["item/started", { item: call }] as const;
  const completed = ["item/completed", { item: call }] as const;
  const second = ["item/started", { item: { type: "fileChange", id: "c2" } }] as const;
  const answer = ["item/completed", { item: { type: "agentMessage", id: "a", text: "x" } }] as const;
  const orders: [string, (readonly [string, Record<string, unknown>])[], number[]][] = [
    ["plain answer", [answer, usage], [0, 1]],
    ["call first", [started, usage, completed, answer, usage], [0, 2, 2, 2, 2]],
    ["usage first", [usage, started, completed, answer, usage], [1, 2, 2, 2, 2]],
    ["two calls", [started, second, usage, completed, answer, usage], [0, 0, 2, 2, 2, 2]],
  ];
  for (const [name, order, expected] of orders) {
    const events: ProviderEvent[] = [];
    const thread = new CodexThread((event) => events.push(event), "T");
    const counts = order.map(([method, params]) => {
      thread.take(method, { threadId: "T", turnId: "U", ...params });
      return turnsOf(events);
    });
    assertEquals(counts, expected, name);
  }
});
