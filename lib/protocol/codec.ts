import { utf8Length } from "../base/bytes.ts";
import type { ClientFrame, ServerFrame } from "./frames.ts";
import {
  AGENT_STATUSES,
  type AgentStatus,
  BUS_ROLES,
  type BusRole,
  type Message,
  type SendInput,
} from "./message.ts";

/** Largest frame taken. */
export const FRAME_LIMIT = 4 * 1024 * 1024;
/** Largest message body a sender may use. */
export const BODY_LIMIT = 1024 * 1024;
/** The same as JSON in UTF-8, which is what has to pass through frames and pages: a control character takes 6 bytes there. */
const BODY_JSON_LIMIT = 3 * 1024 * 1024;
/** Largest payload and meta of a message together, as JSON in UTF-8. */
const EXTRA_LIMIT = 512 * 1024;
/** Deepest nesting that is read; the parser itself would take 200,000. */
export const DEPTH_LIMIT = 32;
/**
 * Deepest nesting that a relay takes of what it hands on, like a payload: it comes out again inside a frame, a page or a
 * receipt, and every client must be able to read it there.
 */
export const PART_DEPTH = 24;
const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype"]);

/** A decoded value or the reason why it was refused. */
export type Decoded<T> = { ok: true; value: T } | { ok: false; reason: string };

const refuse = (reason: string): { ok: false; reason: string } => ({ ok: false, reason });

/** Parses JSON text with bounds on its length in characters and its depth and without prototype keys; never throws. */
export function decodeJson(text: string, limit = FRAME_LIMIT, maxDepth = DEPTH_LIMIT): Decoded<unknown> {
  const parsed = parse(text, limit);
  if (!parsed.ok) return parsed;
  const problem = problemOf(parsed.value, maxDepth);
  return problem === null ? parsed : refuse(problem);
}

function parse(text: string, limit: number): Decoded<unknown> {
  if (text.length > limit) return refuse(`longer than ${limit} characters`);
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return refuse("not JSON");
  }
}

/** Says why a parsed value is not taken: nested deeper than `maxDepth`, or with a prototype key. Null when it is. */
export function problemOf(value: unknown, maxDepth: number): string | null {
  const inspect = (value: unknown, depth: number): string | null => {
    if (typeof value !== "object" || value === null) return null;
    if (depth >= maxDepth) return `deeper than ${maxDepth}`;
    if (Array.isArray(value)) {
      for (const item of value) {
        const problem = inspect(item, depth + 1);
        if (problem !== null) return problem;
      }
      return null;
    }
    for (const key of Object.keys(value)) {
      if (FORBIDDEN_KEYS.has(key)) return `key ${key} not allowed`;
      const problem = inspect((value as Record<string, unknown>)[key], depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  };
  return inspect(value, 0);
}

/** True for a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Frames of one text at most. */
const BATCH_LIMIT = 4_096;

/** A decoded frame, or why it was refused with the id under which its sender waits for an answer. */
export type DecodedFrame<T> = { ok: true; value: T } | { ok: false; reason: string; id?: string };

/** The frames of a text, each judged and decoded for itself, so that a bad one is refused alone. */
function decodeFrames<T>(
  text: string,
  decode: (frame: unknown) => Decoded<T>,
  maxDepth = DEPTH_LIMIT,
): DecodedFrame<T>[] {
  const json = parse(text, FRAME_LIMIT);
  if (!json.ok) return [json];
  const each = (frame: unknown): DecodedFrame<T> => {
    const problem = problemOf(frame, maxDepth);
    const decoded = problem === null ? decode(frame) : refuse(problem);
    if (decoded.ok || !isRecord(frame) || typeof frame.id !== "string" || frame.id.length > 128) {
      return decoded;
    }
    return { ...decoded, id: frame.id };
  };
  if (!Array.isArray(json.value)) return [each(json.value)];
  if (json.value.length === 0) return [refuse("no frame")];
  if (json.value.length > BATCH_LIMIT) return [refuse(`more than ${BATCH_LIMIT} frames`)];
  return json.value.map(each);
}

function decodeFrame(
  frame: unknown,
): Decoded<{ type: string; id?: string; payload: Record<string, unknown> }> {
  if (!isRecord(frame)) return refuse("not an object");
  if (typeof frame.type !== "string") return refuse("missing field `type`");
  if (frame.id !== undefined && (typeof frame.id !== "string" || frame.id.length > 128)) {
    return refuse("ill-typed field `id`");
  }
  const payload = frame.payload ?? {};
  if (!isRecord(payload)) return refuse("ill-typed field `payload`");
  return {
    ok: true,
    value: { type: frame.type, ...(frame.id === undefined ? {} : { id: frame.id }), payload },
  };
}

/** What names something beyond this program: databases keep it as it is, and logs show it. */
// deno-lint-ignore no-control-regex -- control characters are what this refuses
const NAME = /^[^\u0000-\u001f\u007f-\u009f]{1,512}$/;

type FieldType =
  | "role"
  | "status"
  | "name"
  | "string"
  | "number"
  | "boolean"
  | "object"
  | "strings"
  | "id"
  | "ids"
  | "array";

/** Names the first field that is missing or ill-typed; a question mark makes it optional. */
function checkFields(
  value: Record<string, unknown>,
  fields: Record<string, `${FieldType}${"" | "?"}`>,
): string | null {
  for (const [name, rule] of Object.entries(fields)) {
    const optional = rule.endsWith("?");
    const field = value[name];
    if (field === undefined || field === null) {
      if (!optional) return `missing field \`${name}\``;
      delete value[name];
    } else if (!hasType(field, (optional ? rule.slice(0, -1) : rule) as FieldType)) {
      return `ill-typed field \`${name}\``;
    }
  }
  return null;
}

function hasType(value: unknown, type: FieldType): boolean {
  switch (type) {
    case "role":
      return isBusRole(value);
    case "status":
      return isAgentStatus(value);
    case "name":
      return typeof value === "string" && NAME.test(value);
    case "string":
      return typeof value === "string";
    case "boolean":
      return typeof value === "boolean";
    case "number":
      return typeof value === "number" && Number.isFinite(value);
    case "object":
      return isRecord(value);
    case "strings":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    case "array":
      return Array.isArray(value);
    case "id":
      return isMessageId(value);
    case "ids":
      return Array.isArray(value) && value.every(isMessageId);
  }
}

/** True for a role that a component may register with. */
export function isBusRole(value: unknown): value is BusRole {
  return BUS_ROLES.includes(value as BusRole);
}

/** True for a status that an agent may report. */
export function isAgentStatus(value: unknown): value is AgentStatus {
  return AGENT_STATUSES.includes(value as AgentStatus);
}

/** True for what a relay may use as a message id: a safe, non-negative integer. */
export function isMessageId(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

const CLAIM = { messageId: "id", agentId: "string", instanceId: "name?", epoch: "number?" } as const;

const CLIENT_PAYLOADS: Record<string, Record<string, `${FieldType}${"" | "?"}`>> = {
  register: {
    role: "role",
    componentId: "string",
    agentId: "string?",
    instanceId: "string",
    capabilities: "strings",
    tags: "strings",
    machine: "string",
    meta: "object?",
  },
  heartbeat: { status: "status?", meta: "object?" },
  status: { agentStatus: "status", ready: "boolean?", meta: "object?" },
  subscribe: { events: "strings", scopes: "strings?" },
  ack: { frameId: "string" },
  resume: { since: "number" },
  command: { commandType: "name", target: "name", params: "object?" },
  "command.update": { commandId: "name", status: "string", error: "string?" },
  "message.send": {},
  "message.claim": CLAIM,
  "message.renew": CLAIM,
  "message.release": CLAIM,
  "message.read": { messageIds: "ids", agentId: "string" },
  "receipt.report": { reports: "array" },
};

/** Other names under which clients of the protocol may send a command update. */
const ALIASES: Record<string, string> = {
  command_update: "command.update",
  "command.status": "command.update",
  "command.result": "command.update",
};

/** Decodes what a client sent. A payload has the members of its type; unknown types are refused by name. */
export function decodeClientFrames(text: string): DecodedFrame<ClientFrame>[] {
  // A frame, its payload, and then what is handed on.
  return decodeFrames(text, clientFrame, PART_DEPTH + 2);
}

function clientFrame(value: unknown): Decoded<ClientFrame> {
  const decoded = decodeFrame(value);
  if (!decoded.ok) return decoded;
  const frame = decoded.value;
  frame.type = ALIASES[frame.type] ?? frame.type;
  const fields = CLIENT_PAYLOADS[frame.type];
  if (!fields) return refuse("unknown frame type");
  if (frame.type === "message.send") {
    const input = validateSendInput(frame.payload);
    if (!input.ok) return input;
  }
  const problem = checkFields(frame.payload, fields);
  return problem === null ? { ok: true, value: frame as unknown as ClientFrame } : refuse(problem);
}

const SERVER_PAYLOADS: Record<string, Record<string, `${FieldType}${"" | "?"}`>> = {
  ack: { frameId: "string" },
  error: { frameId: "string?", code: "string", message: "string" },
  registered: {},
  event: { seq: "number", event: "string" },
  command: { commandType: "string", target: "string", params: "object?", commandId: "name" },
};

/** Decodes what the server sent. Unknown types are refused with the reason `unknown frame type`. */
export function decodeServerFrames(text: string): DecodedFrame<ServerFrame>[] {
  return decodeFrames(text, serverFrame);
}

function serverFrame(value: unknown): Decoded<ServerFrame> {
  const decoded = decodeFrame(value);
  if (!decoded.ok) return decoded;
  const frame = decoded.value;
  const fields = SERVER_PAYLOADS[frame.type];
  if (!fields) return refuse("unknown frame type");
  const problem = checkFields(frame.payload, fields);
  return problem === null ? { ok: true, value: frame as unknown as ServerFrame } : refuse(problem);
}

/** Checks a message that came over the wire; a numeric string id becomes the number it names. */
export function validateMessage(value: unknown): Decoded<Message> {
  if (!isRecord(value)) return refuse("not an object");
  if (typeof value.id === "string" && /^\d{1,15}$/.test(value.id)) value.id = Number(value.id);
  value.claimable ??= false;
  value.kind ??= "chat";
  value.createdAt ??= 0;
  const problem = checkFields(value, {
    id: "id",
    storeId: "name",
    from: "string",
    to: "string",
    kind: "string",
    body: "string",
    subject: "string?",
    channel: "string?",
    claimable: "boolean",
    replyTo: "id?",
    threadId: "id?",
    replyExpected: "boolean?",
    when: "string?",
    recipients: "strings?",
    payload: "object?",
    meta: "object?",
    generation: "id?",
    createdAt: "number",
  });
  if (problem !== null) return refuse(problem);
  if (value.when !== undefined && !isTiming(value.when)) delete value.when;
  return { ok: true, value: value as unknown as Message };
}

function jsonBytes(value: unknown): number {
  return value === undefined ? 0 : utf8Length(JSON.stringify(value));
}

function isTiming(value: unknown): boolean {
  return value === "now" || value === "next" || value === "idle";
}

/** Checks what a sender wants to send. */
export function validateSendInput(value: unknown): Decoded<SendInput> {
  if (!isRecord(value)) return refuse("not an object");
  const problem = checkFields(value, {
    from: "string",
    to: "string",
    body: "string",
    subject: "string?",
    kind: "string?",
    channel: "string?",
    claimable: "boolean?",
    replyTo: "id?",
    replyExpected: "boolean?",
    when: "string?",
    payload: "object?",
    meta: "object?",
    idempotencyKey: "string?",
    queue: "boolean?",
    ttlMs: "number?",
  });
  if (problem !== null) return refuse(problem);
  if (value.when !== undefined && !isTiming(value.when)) return refuse("ill-typed field `when`");
  const body = value.body as string;
  if (body.length > BODY_LIMIT) return refuse(`body larger than ${BODY_LIMIT} characters`);
  // What a relay stores and no client takes would be offered to its agent for ever.
  if (body.length > BODY_JSON_LIMIT / 6 && jsonBytes(body) > BODY_JSON_LIMIT) {
    return refuse(`body larger than ${BODY_JSON_LIMIT} bytes of JSON`);
  }
  if (jsonBytes(value.payload) + jsonBytes(value.meta) > EXTRA_LIMIT) {
    return refuse(`payload and meta larger than ${EXTRA_LIMIT} bytes of JSON`);
  }
  for (const name of ["from", "to", "subject", "kind", "channel", "idempotencyKey"]) {
    if (typeof value[name] === "string" && (value[name] as string).length > 512) {
      return refuse(`field \`${name}\` too long`);
    }
    if (typeof value[name] === "string" && (value[name] as string).includes("\0")) {
      return refuse(`field \`${name}\` contains a NUL character`);
    }
  }
  return { ok: true, value: value as unknown as SendInput };
}
