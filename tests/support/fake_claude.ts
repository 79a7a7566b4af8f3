/**
 * A headless Claude Code (2.1.330) with a script instead of a model: stream-json both ways, command_lifecycle, replay,
 * session states, idempotent uuids, interrupt, end_session, the transcript and `--resume`, as measured. What "the
 * model" saw is in the oracle of {@linkcode FakeAgent}.
 */
import { join } from "@std/path";
import { lines } from "../../lib/base/bytes.ts";
import { crash, FakeAgent } from "./fake_agent.ts";
import { pause } from "./temp.ts";
import { marksOf } from "./oracle.ts";

interface Queued {
  uuid: string;
  text: string;
}

const args = Deno.args;
const option = (name: string) => {
  const at = args.indexOf(name);
  return at < 0 ? null : args[at + 1] ?? null;
};

if (args[0] === "--version") {
  // Not an agent: it leaves no mark in the oracle.
  Deno.stdout.writeSync(new TextEncoder().encode("2.1.330 (Claude Code)\n"));
  Deno.exit(0);
}
const agent = new FakeAgent();
const resume = option("--resume");
const sessionId = resume ?? option("--session-id") ?? crypto.randomUUID();
const configDir = Deno.env.get("CLAUDE_CONFIG_DIR") ?? join(Deno.env.get("HOME")!, ".claude");
const projectDir = join(configDir, "projects", Deno.cwd().replace(/[^A-Za-z0-9]/g, "-"));
const transcriptPath = join(projectDir, `${sessionId}.jsonl`);
const encoder = new TextEncoder();

function fail(message: string): never {
  Deno.stderr.writeSync(encoder.encode(message + "\n"));
  Deno.exit(1);
}

function transcriptIds(): Set<string> | null {
  let text: string;
  try {
    text = Deno.readTextFileSync(transcriptPath);
  } catch {
    return null;
  }
  const ids = new Set<string>();
  for (const line of text.split("\n")) {
    try {
      const row = JSON.parse(line) as { type: string; uuid: string };
      if (row.type === "user") ids.add(row.uuid);
    } catch { /* cut by a kill */ }
  }
  return ids;
}

const stored = transcriptIds();
if (resume !== null && stored === null) fail(`No conversation found with session ID: ${resume}`);
if (resume === null && stored !== null) fail(`Error: Session ID ${sessionId} is already in use.`);

/** Uuids of the conversation: each is run once, whatever became of it. */
const known = stored ?? new Set<string>();
const inProcess = new Set<string>();
const queue: Queued[] = [];
let running: { abort: AbortController; item: Queued } | null = null;
let ending = false;

function say(record: Record<string, unknown>): void {
  const bytes = encoder.encode(
    JSON.stringify({ ...record, session_id: sessionId, uuid: record.uuid ?? crypto.randomUUID() }) + "\n",
  );
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

/** The directory appears with the first row, as it does for real. */
function row(record: Record<string, unknown>): void {
  Deno.mkdirSync(projectDir, { recursive: true });
  Deno.writeTextFileSync(transcriptPath, JSON.stringify({ sessionId, ...record }) + "\n", { append: true });
}

const lifecycle = (uuid: string, state: string) =>
  say({ type: "command_lifecycle", command_uuid: uuid, state });
const sessionState = (state: string) => say({ type: "system", subtype: "session_state_changed", state });

function answer(id: unknown, response: Record<string, unknown>): void {
  say({ type: "control_response", response: { subtype: "success", request_id: id, response } });
}

function control(id: unknown, request: Record<string, unknown>): void {
  switch (request.subtype) {
    case "initialize":
      return answer(id, { commands: [], models: [], account: {} });
    case "interrupt":
      answer(id, { still_queued: queue.map((item) => item.uuid) });
      running?.abort.abort();
      return;
    case "end_session":
      answer(id, {});
      setTimeout(() => Deno.exit(0), 20);
      return;
    default:
      say({
        type: "control_response",
        response: {
          subtype: "error",
          request_id: id,
          error: `Unsupported control request subtype: ${request.subtype}`,
          error_code: "unsupported_request",
        },
      });
  }
}

function replay(uuid: string, content: string): void {
  say({ type: "user", uuid, isReplay: true, message: { role: "user", content } });
}

function user(record: { uuid?: string; message: { content: string } }): void {
  const uuid = record.uuid ?? crypto.randomUUID();
  const text = record.message.content;
  if (inProcess.has(uuid)) {
    // A uuid of a turn that failed is answered with the replay and nothing else; one that waits is not.
    if (known.has(uuid) && running?.item.uuid !== uuid) replay(uuid, text);
    return;
  }
  inProcess.add(uuid);
  agent.record({ type: "accepted", deliveryId: uuid });
  if (known.has(uuid)) {
    replay(uuid, text);
    return lifecycle(uuid, "completed");
  }
  lifecycle(uuid, "queued");
  queue.push({ uuid, text });
  void work();
}

async function work(): Promise<void> {
  if (running !== null) return;
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    running = { abort: new AbortController(), item };
    await turn(item, running.abort.signal);
    running = null;
  }
  if (ending) Deno.exit(0);
}

async function turn({ uuid, text }: Queued, signal: AbortSignal): Promise<void> {
  const { behaviour, fails, hangs, crashesAt } = agent.nextTurn();
  const at = (point: string) => crashesAt === point && crash();
  at("accepted");
  sessionState("running");
  say({ type: "system", subtype: "init", model: "fake", permissionMode: "default", tools: [] });
  await pause(behaviour.placedMs, signal);
  lifecycle(uuid, "started");
  replay(uuid, text);
  known.add(uuid);
  row({ type: "user", uuid, message: { role: "user", content: text } });
  at("placed");
  await pause(behaviour.seenMs, signal);
  if (!signal.aborted && fails) return apiError(uuid, behaviour.failure);
  if (!signal.aborted) {
    agent.record({ type: "seen", deliveryId: uuid, ...marksOf(text) });
    at("seen");
    const message = {
      model: "fake",
      role: "assistant",
      content: [{ type: "text", text: `ok ${text.length}` }],
    };
    row({ type: "assistant", uuid: crypto.randomUUID(), message: { ...message, stop_reason: null } });
    say({ type: "assistant", user_message_uuids: [uuid], message });
    at("answered");
    await pause(hangs ? 1_000_000_000 : behaviour.doneMs, signal);
  }
  if (signal.aborted) return aborted(uuid);
  agent.record({ type: "ended", deliveryId: uuid, how: "done" });
  row({
    type: "assistant",
    uuid: crypto.randomUUID(),
    message: {
      model: "fake",
      role: "assistant",
      stop_reason: "end_turn",
      content: [{ type: "text", text: "done" }],
    },
  });
  say({
    type: "result",
    subtype: "success",
    is_error: false,
    terminal_reason: "completed",
    result: `ok ${text.length}`,
    total_cost_usd: 0,
    user_message_uuids: [uuid],
  });
  lifecycle(uuid, "completed");
  sessionState("idle");
}

/** An API error is a "success" with is_error, and a synthetic assistant row: the model itself said nothing. */
function apiError(uuid: string, status: "401" | "500" | "400"): void {
  const text = status === "401" ? "Please run /login · API Error: 401" : `API Error: ${status}`;
  agent.record({ type: "ended", deliveryId: uuid, how: "failed" });
  const message = { model: "<synthetic>", role: "assistant", content: [{ type: "text", text }] };
  row({ type: "assistant", uuid: crypto.randomUUID(), isApiErrorMessage: true, message });
  say({ type: "assistant", error: "api", user_message_uuids: [uuid], message });
  say({
    type: "result",
    subtype: "success",
    is_error: true,
    terminal_reason: "api_error",
    api_error_status: Number(status),
    result: text,
    user_message_uuids: [uuid],
  });
  lifecycle(uuid, "cancelled");
  sessionState("idle");
}

function aborted(uuid: string): void {
  agent.record({ type: "ended", deliveryId: uuid, how: "cancelled" });
  say({
    type: "result",
    subtype: "error_during_execution",
    is_error: true,
    terminal_reason: "aborted_streaming",
    errors: ["interrupted"],
    user_message_uuids: [uuid],
  });
  lifecycle(uuid, "cancelled");
  sessionState("idle");
}

for (const [name, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  Deno.addSignalListener(name, () => {
    if (!agent.behaviour.ignoreTerm) Deno.exit(code);
  });
}
await pause(agent.behaviour.slowStartMs);
agent.record({ type: "start", resume });
for await (const line of lines(Deno.stdin.readable, { maxLineBytes: 64 * 1024 * 1024 })) {
  if (line.kind !== "line") continue;
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line.text);
  } catch {
    continue;
  }
  if (record.type === "control_request") {
    control(record.request_id, record.request as Record<string, unknown>);
  } else if (record.type === "user") {
    user(record as unknown as { uuid?: string; message: { content: string } });
  }
}
ending = true;
if (running === null) Deno.exit(0);
