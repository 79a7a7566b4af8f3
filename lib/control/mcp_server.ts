import { type Line, lines } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { decodeJson, isRecord } from "../protocol/codec.ts";
import { isToolName, type ToolResult, TOOLS, type ToolSpec } from "../protocol/tools.ts";

/** Versions of the protocol that are spoken, the newest first: it is the answer to one that is not. */
const VERSIONS = ["2025-06-18", "2025-03-26", "2024-11-05"];
/** More than any model writes: what waits for an answer to a line that was dropped waits for ever. */
const LINE_BYTES = 16 * 1024 * 1024;
/** Calls under way; what is over is refused at once. */
const CALLS = 16;

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;

const INSTRUCTIONS =
  "Tools to write to other agents over the relay that brings this session its messages. A message in a relay-message " +
  "frame is answered by the final text of the turn that handles it; these tools are for everything else.";

type Id = string | number;

/** What the server needs of the world. */
export interface McpOptions {
  input: AsyncIterable<Uint8Array>;
  /** Writes one line. */
  write(line: string): void;
  /** Carries a call out; rejects when the signal aborts. */
  call(name: ToolSpec["name"], args: unknown, signal: AbortSignal): Promise<ToolResult>;
}

/**
 * Serves the relay's tools over MCP's stdio transport (JSON-RPC 2.0, a message per line) and resolves when the input has
 * ended, with every call under way given up. No line ends it.
 */
export async function serveMcp({ input, write, call }: McpOptions): Promise<void> {
  const calls = new Map<Id, AbortController>();
  const send = (message: Record<string, unknown>) => write(JSON.stringify({ jsonrpc: "2.0", ...message }));
  const refuse = (id: Id | null, code: number, message: string) => send({ id, error: { code, message } });

  const callTool = async (id: Id, params: Record<string, unknown>) => {
    const { name } = params;
    if (typeof name !== "string" || !isToolName(name)) {
      return refuse(id, INVALID_PARAMS, "there is no such tool");
    }
    if (calls.has(id)) return refuse(id, INVALID_REQUEST, "this id is in use");
    if (calls.size >= CALLS) return send({ id, result: content("too many calls are under way", true) });
    const abort = new AbortController();
    calls.set(id, abort);
    try {
      const { text, isError } = await call(name, params.arguments ?? {}, abort.signal);
      // To a request that was cancelled there is no answer.
      if (!abort.signal.aborted) send({ id, result: content(text, isError) });
    } catch (error) {
      if (!abort.signal.aborted) send({ id, result: content(messageOf(error), true) });
    } finally {
      calls.delete(id);
    }
  };

  const request = (id: Id, method: string, params: Record<string, unknown>): unknown => {
    switch (method) {
      case "initialize":
        return send({ id, result: handshake(params.protocolVersion) });
      case "ping":
        return send({ id, result: {} });
      case "tools/list":
        return send({ id, result: { tools: TOOLS.map(offered) } });
      case "tools/call":
        return callTool(id, params);
      default:
        return refuse(id, METHOD_NOT_FOUND, `${method.slice(0, 80)} is not known here`);
    }
  };

  const notification = (method: string, { requestId }: Record<string, unknown>) => {
    if (method === "notifications/cancelled" && isId(requestId)) {
      calls.get(requestId)?.abort(new Error("cancelled"));
    }
  };

  const take = (line: Line): unknown => {
    if (line.kind === "too-long") return refuse(null, PARSE_ERROR, `longer than ${LINE_BYTES} bytes`);
    if (line.text.trim() === "") return;
    const decoded = decodeJson(line.text, LINE_BYTES);
    if (!decoded.ok) return refuse(null, PARSE_ERROR, decoded.reason);
    // Batches went with 2025-06-18; the versions before had no use for them.
    if (!isRecord(decoded.value)) return refuse(null, INVALID_REQUEST, "not a request");
    const { id, method } = decoded.value;
    const params = isRecord(decoded.value.params) ? decoded.value.params : {};
    if (typeof method !== "string") {
      // An answer: nothing was asked, so nothing waits for it.
      if ("result" in decoded.value || "error" in decoded.value) return;
      return refuse(isId(id) ? id : null, INVALID_REQUEST, "a request needs a method");
    }
    if (id === undefined) return notification(method, params);
    if (!isId(id)) return refuse(null, INVALID_REQUEST, "an id is a text or a number");
    return request(id, method, params);
  };

  try {
    for await (const line of lines(input, { maxLineBytes: LINE_BYTES })) take(line);
  } finally {
    for (const abort of calls.values()) abort.abort(new Error("the session is over"));
  }
}

function handshake(asked: unknown): Record<string, unknown> {
  return {
    protocolVersion: VERSIONS.find((version) => version === asked) ?? VERSIONS[0],
    capabilities: { tools: {} },
    serverInfo: { name: "agent-relay", version: VERSION },
    instructions: INSTRUCTIONS,
  };
}

/** Claude Code would have the model search for a tool before it can call it (2.1.330); these few are worth their place. */
function offered(spec: ToolSpec): Record<string, unknown> {
  return { ...spec, _meta: { "anthropic/alwaysLoad": true } };
}

function content(text: string, isError: boolean): Record<string, unknown> {
  return { content: [{ type: "text", text }], isError };
}

function isId(value: unknown): value is Id {
  return (typeof value === "string" && value.length <= 128) ||
    (typeof value === "number" && Number.isFinite(value));
}
