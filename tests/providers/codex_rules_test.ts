import { assertEquals, assertThrows } from "@std/assert";
import { RunnerError } from "../../lib/base/errors.ts";
import {
  approvalSettings,
  serverArguments,
  splitArguments,
  terminalArguments,
} from "../../lib/providers/codex/arguments.ts";
import { Conversations } from "../../lib/providers/codex/conversations.ts";
import { probeThreads } from "../../lib/providers/codex/probe.ts";
import type { RpcLink } from "../../lib/providers/codex/rpc.ts";
import { CodexThread, probeTurns, type Turn } from "../../lib/providers/codex/thread.ts";
import type { ProviderEvent } from "../../lib/providers/contract.ts";
import { FakeClock } from "../support/fake_clock.ts";

const ID = "11111111-0000-5000-8000-000000000001";
const kinds = (events: ProviderEvent[]) =>
  events.map((event) =>
    event.type === "evidence" ? event.stage : event.type === "failed" ? event.failure : event.type
  );
const userMessage = { type: "userMessage", id: "i", clientId: ID };

/** Conversations of a terminal or a headless run, with what they emitted. */
function conversations(interactive: boolean) {
  const events: ProviderEvent[] = [];
  const all = new Conversations({ interactive, emit: (event) => events.push(event) });
  all.turnTo("T");
  return { all, events };
}

Deno.test("Codex's threads: other threads are ignored, evidence comes from items, both status forms are understood", () => {
  const { all, events } = conversations(false);
  const at = (method: string, more: Record<string, unknown>) => all.take(method, { threadId: "T", ...more });
  all.take("turn/started", { threadId: "other", turn: { id: "x" } });
  assertEquals(all.current!.turnId, null);
  all.current!.status("active");
  at("turn/started", { turn: { id: "U" } });
  at("item/started", { turnId: "U", item: userMessage });
  at("item/completed", { turnId: "U", item: userMessage });
  at("item/started", { turnId: "U", item: { type: "reasoning", id: "r" } });
  at("item/completed", { turnId: "U", item: { type: "agentMessage", id: "m", text: "answer" } });
  at("thread/status/changed", { status: { type: "systemError" } });
  at("turn/completed", { turn: { id: "U", status: "completed", items: [] } });
  assertEquals(kinds(events), ["activity", "placed", "seen", "output", "activity", "done"]);
  at("turn/completed", { turn: { id: "never started", status: "failed" } });
  assertEquals(events.length, 6);
});

Deno.test("Codex's threads: a TUI that was opened on a thread shows by taking it up, which our own resume does not", async () => {
  const { all, events } = conversations(true);
  let taken = 0;
  const waiting = all.takenUp("T").then(() => taken++);
  await all.resuming("T", () => Promise.resolve(all.take("thread/goal/cleared", { threadId: "T" })));
  all.take("thread/goal/cleared", { threadId: "other" });
  all.take("thread/status/changed", { threadId: "T", status: { type: "idle" } });
  await null;
  assertEquals(taken, 0);
  assertEquals(all.take("thread/goal/cleared", { threadId: "T" }), { type: "none" });
  await waiting;
  assertEquals([taken, events], [1, []]);
});

/** Notifications of a turn whose prompt a hook refuses (0.169.0, measured): it has no item, and completes. */
function refuse(all: Conversations, turnId: string, run: Record<string, unknown> = {}): void {
  const at = (method: string, more: Record<string, unknown>) => all.take(method, { threadId: "T", ...more });
  at("turn/started", { turn: { id: turnId } });
  const entries = [{ kind: "feedback", text: "not here" }];
  at("hook/completed", {
    turnId,
    run: { eventName: "userPromptSubmit", status: "blocked", entries, ...run },
  });
  at("turn/completed", { turn: { id: turnId, status: "completed", items: [] } });
}

Deno.test("Codex's threads: a prompt that a hook refuses was the one message without a turn, where nobody else has prompts", () => {
  const { all, events } = conversations(false);
  all.current!.expect(ID);
  for (const other of [{ status: "completed" }, { eventName: "stop" }]) refuse(all, "before", other);
  assertEquals(events, []);
  refuse(all, "U");
  assertEquals(events, [
    { type: "failed", deliveryIds: [ID], failure: "message", reason: "a hook refused it: not here" },
  ]);
  assertEquals(all.current!.open.size, 0);
  // It cannot be told which of two it was, and a prompt with a turn of its own was none.
  for (const id of ["a", "b"]) all.current!.expect(id);
  all.take("item/started", { threadId: "T", turnId: "V", item: { ...userMessage, clientId: "placed" } });
  refuse(all, "W");
  assertEquals(kinds(events), ["message", "placed"]);
  assertEquals(["a", "b", "placed"].map((id) => all.current!.refusalOf(id)), ["not here", "not here", null]);
});

Deno.test("Codex's threads: beside a person, a refused prompt was the message only if the record has it nowhere", async () => {
  const { all, events } = conversations(true);
  const entry = { id: "entry", clientUserMessageId: ID };
  const probe = async (queue: unknown[], turns: Turn[]) => {
    const rpc = {
      request: (method: string) =>
        Promise.resolve({ data: method === "thread/queue/list" ? queue : turns, nextCursor: null }),
    } as unknown as RpcLink;
    const results = await probeThreads(rpc, new FakeClock(), [ID], {
      conversations: all,
      remembered: [],
      stuck: new Set(),
      startQueue: () => Promise.resolve(),
    });
    return results.get(ID);
  };
  const thread = all.current!;
  thread.expect(ID);
  refuse(all, "the person's");
  assertEquals(events, []);
  assertEquals((await probe([entry], []))?.state, "placed", "it waits behind the person's");
  assertEquals(await probe([], []), {
    state: "failed",
    failure: "message",
    reason: "a hook refused it: not here",
  });
  assertEquals(thread.open.size, 0);
  thread.expect(ID);
  assertEquals(await probe([], []), { state: "absent" }, "another attempt");
  thread.expect(ID);
  refuse(all, "the person's again");
  thread.take("item/started", { turnId: "U", item: userMessage });
  assertEquals(thread.refusalOf(ID), null, "it has begun");
});

Deno.test("Codex's threads: what was missed is told once, and old turns are not told of again", () => {
  const events: ProviderEvent[] = [];
  const thread = new CodexThread((event) => events.push(event), "T");
  const answer = { type: "agentMessage", id: "m", text: "answer" };
  const old: Turn = { id: "old", status: "completed", items: [{ ...answer, id: "o" }] };
  const cut: Turn = {
    id: "cut",
    status: "interrupted",
    items: [{ ...userMessage, clientId: "the person's" }],
  };
  thread.catchUp([old]);
  assertEquals([events, thread.turnId], [[], null]);
  thread.expect(ID);
  thread.catchUp([{ id: "U", status: "inProgress", items: [userMessage] }, old]);
  assertEquals([kinds(events), thread.turnId, thread.holdsDelivery], [["placed"], "U", true]);
  thread.take("item/completed", { turnId: "U", item: answer });
  const turns: Turn[] = [{ id: "U", status: "completed", items: [userMessage, answer] }, cut, old];
  thread.catchUp(turns);
  thread.catchUp(turns);
  assertEquals(kinds(events), ["placed", "seen", "output", "done"]);
  assertEquals([thread.open.size, thread.turnId, thread.paused], [0, null, false]);
});

Deno.test("Codex's threads: the person's moves are told from helpers, sub-agents and our own resumes", async () => {
  const { all } = conversations(true);
  const started = (thread: Record<string, unknown>) => all.take("thread/started", { thread });
  const status = (threadId: string, type = "idle") =>
    all.take("thread/status/changed", { threadId, status: { type } });
  const none = { type: "none" };
  assertEquals(started({ id: "N", threadSource: "user" }), { type: "begun", threadId: "N" });
  assertEquals(started({ id: "helper", threadSource: "thread_title", ephemeral: true }), none);
  assertEquals(status("helper", "active"), none);
  assertEquals(started({ id: "sub", threadSource: "user", parentThreadId: "T" }), none);
  assertEquals(started({ id: "own", threadSource: null }), none);
  assertEquals(status("stored"), { type: "unknown", threadId: "stored" });
  const first = all.current!;
  const second = all.turnTo("N");
  assertEquals(status("T"), none);
  // The person went back to a loaded thread; our own resume of it is told from that.
  await all.resuming("T", () => {
    assertEquals(all.take("thread/goal/cleared", { threadId: "T" }), none);
    return Promise.resolve();
  });
  assertEquals(all.take("thread/goal/cleared", { threadId: "N" }), none);
  const returned = all.take("thread/goal/cleared", { threadId: "T" });
  assertEquals(returned.type === "returned" && returned.thread === first, true);
  // The goal of a thread that works is updated by itself.
  status("T", "active");
  assertEquals(all.take("thread/goal/updated", { threadId: "T" }), none);
  assertEquals(all.current, second);
  const headless = conversations(false).all;
  assertEquals(headless.take("thread/started", { thread: { id: "N", threadSource: "user" } }), none);
});

Deno.test("Codex's threads: busy while the thread that was left still works on a delivery, idle with the last of them", () => {
  const { all, events } = conversations(true);
  const first = all.current!;
  first.expect(ID);
  const activities = () => events.flatMap((event) => event.type === "activity" ? [event.activity] : []);
  all.take("thread/status/changed", { threadId: "T", status: { type: "active", activeFlags: [] } });
  all.turnTo("N");
  assertEquals(activities(), ["busy"]);
  all.take("thread/status/changed", {
    threadId: "N",
    status: { type: "active", activeFlags: ["waitingOnApproval"] },
  });
  all.take("thread/status/changed", { threadId: "N", status: { type: "idle" } });
  first.forget(ID);
  all.changed();
  assertEquals(activities(), ["busy", "approval", "busy", "idle"]);
  // A followed thread is let go only when nothing of ours is under way there.
  first.expect(ID);
  for (let i = 0; i < 20; i++) all.turnTo(`more ${i}`);
  assertEquals([all.all.length, all.holderOf(ID) === first], [8, true]);
});

Deno.test("Codex's turns tell what became of a delivery", () => {
  const user = { type: "userMessage", clientId: ID };
  const answer = { type: "agentMessage", text: "a" };
  const state = (status: string, ...items: Record<string, unknown>[]) =>
    probeTurns([{ id: "U", status, items: items as never }], ID)?.state ?? null;
  assertEquals(state("completed", user, answer), "done");
  assertEquals(state("interrupted", user, answer), "seen");
  assertEquals(state("interrupted", user), "failed");
  // Of 0.169.0: the person's own `!command` is an item of the turn that runs, and no word of the model.
  assertEquals(state("interrupted", user, { type: "commandExecution", source: "userShell" }), "failed");
  assertEquals(state("interrupted", user, { type: "commandExecution", source: "agent" }), "seen");
  assertEquals(state("inProgress", user), "placed");
  assertEquals(state("completed", { type: "userMessage", clientId: "other" }, answer), null);
});

Deno.test("Codex's arguments: modes are golden, TUI flags are refused before the server sees them", () => {
  assertEquals(approvalSettings("read-only"), { approvalPolicy: "on-request", sandbox: "read-only" });
  assertEquals(approvalSettings("guarded"), { approvalPolicy: "on-request", sandbox: "workspace-write" });
  assertEquals(approvalSettings("open"), { approvalPolicy: "never", sandbox: "danger-full-access" });
  assertEquals(splitArguments(["-m", "x", "-c", "a=b", "--enable=f"]), {
    resume: null,
    model: "x",
    serverArgs: ["-c", "a=b", "--enable=f"],
  });
  let refused = "";
  try {
    splitArguments(["--full-auto"]);
  } catch (error) {
    refused = (error as Error).message;
  }
  assertEquals(refused, 'codex app-server does not take "--full-auto"');
});

Deno.test("Codex's arguments: a conversation is named as on its own command line, and hints say what to use instead", () => {
  assertEquals(splitArguments(["resume", "ID", "-m", "x"]), { model: "x", resume: "ID", serverArgs: [] });
  const hint = (...args: string[]) => assertThrows(() => splitArguments(args), RunnerError).hint;
  assertEquals(
    hint("resume", "--last"),
    '"resume ID" goes on with a conversation, as --conversation ID does',
  );
  assertEquals(hint("do work"), "a first prompt is --prompt TEXT");
  assertEquals(hint("--yolo"), "use --approval MODE");
  assertEquals(hint("--cd=/"), "use --cwd DIR");
  assertEquals(hint("--search"), "it takes -m MODEL, -c KEY=VALUE, --enable, --disable and resume ID");
});

Deno.test("Codex's arguments: the token's hash alone reaches the server's, and the model is its default for /new", () => {
  assertEquals(
    serverArguments(splitArguments(["-m", "m", "-c", "a=b"]), "HASH", 0).join(" "),
    'app-server --listen ws://127.0.0.1:0 --ws-auth capability-token --ws-token-sha256 HASH -c a=b -c model="m"',
  );
  assertEquals(
    terminalArguments("ws://u", "VARIABLE", "T").join(" "),
    "--remote ws://u --remote-auth-token-env VARIABLE resume T",
  );
});
