import { join } from "@std/path";
import { lines } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import type { ProbeResult, ProviderLaunch } from "../contract.ts";
import { noticeToken } from "./notice.ts";
import { wholeReason } from "../reason.ts";

const LINE_LIMIT = 16 * 1024 * 1024;

/** A row of the transcript, as far as it is read here. */
export interface Row {
  type?: string;
  uuid?: string;
  isApiErrorMessage?: boolean;
  isSidechain?: boolean;
  isMeta?: boolean;
  /** A message that went in at a tool boundary of a running turn. */
  attachment?: { type?: string; source_uuid?: string };
  /** Of a `system` row; with it a prompt that never became a turn is told of (2.1.330). */
  content?: string;
  promptSubmitEnding?: { ending?: { kind?: string; reason?: string } };
  message?: {
    model?: string;
    stop_reason?: string | null;
    content?: string | Block[];
  };
}

/** A piece of a row's content. */
interface Block {
  type?: string;
  text?: string;
  /** Of a `tool_use`. */
  id?: string;
  input?: unknown;
  /** Of a `tool_result`. */
  tool_use_id?: string;
  is_error?: boolean;
}

/** Directory of Claude Code's own files, from the environment it was given. */
export function configDir(env: Readonly<Record<string, string>>): string {
  return env.CLAUDE_CONFIG_DIR ?? join(env.HOME ?? "/", ".claude");
}

/**
 * Returns the transcript of a session, or null when there is none yet. The directory is named after the working
 * directory; a session that was moved is found under any name.
 */
export async function findTranscript(
  env: Readonly<Record<string, string>>,
  cwd: string,
  sessionId: string,
): Promise<string | null> {
  const projects = join(configDir(env), "projects");
  const file = `${sessionId}.jsonl`;
  const usual = join(projects, cwd.replace(/[^A-Za-z0-9]/g, "-"), file);
  if (await isFile(usual)) return usual;
  try {
    for await (const entry of Deno.readDir(projects)) {
      const path = join(projects, entry.name, file);
      if (entry.isDirectory && await isFile(path)) return path;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return null;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/** What a transcript says of one delivery so far. */
interface Found {
  last: Row | null;
  seen: boolean;
  text: string;
  error: boolean;
  /** For a delivery that was a pointer: the tool call under way that reads its text, and whether one did. */
  reading: string | null;
  read: boolean;
}

/** Looks for deliveries in several conversations, one after the other; what is in none of them is absent. */
export async function probeTranscripts(
  { env, cwd }: Pick<ProviderLaunch, "env" | "cwd">,
  conversations: Iterable<string>,
  deliveryIds: readonly string[],
  options: { notices: boolean } = { notices: false },
): Promise<Map<string, ProbeResult>> {
  const results = new Map<string, ProbeResult>(deliveryIds.map((id) => [id, { state: "absent" }]));
  let asked = [...deliveryIds];
  for (const sessionId of conversations) {
    if (asked.length === 0) break;
    const path = await findTranscript(env, cwd, sessionId);
    for (const [id, result] of await probeTranscript(path, asked, options)) results.set(id, result);
    asked = asked.filter((id) => results.get(id)?.state === "absent");
  }
  return results;
}

/**
 * Says from the transcript what became of deliveries of an earlier process. A user row with our uuid proves `placed`,
 * a real assistant row after it `seen`, one that ended its turn `done`. A row that nothing follows is a turn that was
 * never run to its end: Claude does not take it up again on resume, so the delivery has failed.
 *
 * With `notices`, deliveries were pointers to files: their row is found by the notice, and what the model said counts
 * only after a tool result with the file.
 */
export async function probeTranscript(
  path: string | null,
  deliveryIds: readonly string[],
  options: { notices: boolean } = { notices: false },
): Promise<Map<string, ProbeResult>> {
  const results = new Map<string, ProbeResult>();
  if (path === null) {
    for (const id of deliveryIds) results.set(id, { state: "absent" });
    return results;
  }
  const wanted = new Set(deliveryIds);
  const found = new Map<string, Found>();
  let current: string | null = null;
  try {
    const file = await Deno.open(path);
    for await (const line of lines(file.readable, { maxLineBytes: LINE_LIMIT })) {
      if (line.kind !== "line") continue;
      let row: Row;
      try {
        row = JSON.parse(line.text) as Row;
      } catch {
        // The last line of a process that was killed may be cut.
        continue;
      }
      if (row.isSidechain === true) continue;
      const ours = options.notices ? noticeOf(row, wanted) : inputOf(row);
      // Nobody knows a notice's file who was not told, so a call that names it counts whatever order the rows come in.
      const called = options.notices ? callOf(row, wanted) : null;
      if (called !== null) {
        current = called.deliveryId;
        if (!found.has(current)) found.set(current, nothingFound(false));
        found.get(current)!.reading = called.toolUse;
      }
      if (ours !== null && wanted.has(ours)) {
        if (ours !== current && !(options.notices && found.has(ours))) {
          found.set(ours, nothingFound(!options.notices));
        }
        current = ours;
      } else if (row.type === "user" && current !== null && toolResultsOf(row).length > 0) {
        const entry = found.get(current)!;
        const result = toolResultsOf(row).find(({ id }) => id === entry.reading);
        if (result !== undefined) entry.read ||= !result.isError;
      } else if (row.type === "user" && row.isMeta !== true && typeof row.message?.content === "string") {
        // Somebody else's prompt: what follows is another turn.
        current = null;
      } else if (row.type === "assistant" && current !== null) {
        const entry = found.get(current)!;
        if (isApiError(row)) {
          entry.error = true;
          entry.text = textOf(row);
        } else {
          entry.seen ||= entry.read;
          entry.last = row;
          entry.text = textOf(row) || entry.text;
        }
      }
    }
  } catch (error) {
    for (const id of deliveryIds) results.set(id, { state: "unknown", reason: messageOf(error) });
    return results;
  }
  for (const id of deliveryIds) results.set(id, judge(id, found.get(id)));
  return results;
}

/** The uuid of the message that a row brings in: a user row's own, or that of a message steered into a turn. */
export function inputOf(row: Row): string | null {
  if (row.type === "user") return row.uuid ?? null;
  return row.type === "attachment" && row.attachment?.type === "queued_command"
    ? row.attachment.source_uuid ?? null
    : null;
}

function nothingFound(read: boolean): Found {
  return { last: null, seen: false, text: "", error: false, reading: null, read };
}

/** The call of a tool that names a delivery's file. */
function callOf(row: Row, wanted: ReadonlySet<string>): { deliveryId: string; toolUse: string } | null {
  if (row.type !== "assistant") return null;
  for (const { id: toolUse, input } of toolUsesOf(row)) {
    const text = JSON.stringify(input ?? null);
    for (const deliveryId of wanted) if (text.includes(`${deliveryId}.txt`)) return { deliveryId, toolUse };
  }
  return null;
}

/** The delivery whose notice a row brings in. */
function noticeOf(row: Row, wanted: ReadonlySet<string>): string | null {
  if (row.type !== "user" && row.type !== "attachment") return null;
  if (toolResultsOf(row).length > 0) return null;
  const text = JSON.stringify(row);
  for (const id of wanted) if (text.includes(noticeToken(id))) return id;
  return null;
}

/** True for the row that stands for an error of the model API instead of an answer. */
export function isApiError(row: Row): boolean {
  return row.isApiErrorMessage === true || row.message?.model === "<synthetic>";
}

function judge(
  id: string,
  entry: Found | undefined,
): ProbeResult {
  if (entry === undefined) return { state: "absent" };
  if (entry.error && !entry.seen) {
    return { state: "failed", failure: "transient", reason: wholeReason(entry.text) };
  }
  if (!entry.seen) {
    return { state: "failed", failure: "cancelled", reason: "the transcript holds it without an answer" };
  }
  const evidence = `assistant row after user row ${id} in the transcript`;
  const stop = entry.last?.message?.stop_reason;
  return !entry.error && (stop === "end_turn" || stop === "stop_sequence")
    ? { state: "done", evidence, text: entry.text }
    : { state: "seen", evidence };
}

/** The text blocks of a row, joined. */
export function textOf(row: Row): string {
  const content = row.message?.content;
  if (typeof content === "string") return content;
  return (content ?? []).map((block) => block.type === "text" ? block.text ?? "" : "").join("");
}

/** The tools that an assistant row calls. */
export function toolUsesOf(row: Row): { id: string; input: unknown }[] {
  return blocksOf(row).flatMap(({ type, id, input }) =>
    type === "tool_use" && typeof id === "string" ? [{ id, input }] : []
  );
}

/** The results of tools that a user row brings in. */
export function toolResultsOf(row: Row): { id: string; isError: boolean }[] {
  return blocksOf(row).flatMap((block) =>
    block.type === "tool_result" && typeof block.tool_use_id === "string"
      ? [{ id: block.tool_use_id, isError: block.is_error === true }]
      : []
  );
}

function blocksOf(row: Row): Block[] {
  const content = row.message?.content;
  return Array.isArray(content) ? content : [];
}
