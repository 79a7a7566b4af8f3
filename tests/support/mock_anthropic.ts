import { type MockModel, type ModelWire, serveMockModel } from "./mock_model.ts";

type Block = { type: string; text?: string; content?: unknown };
type Turn = { role: string; content: string | Block[] };

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return (content as Block[]).map((block) => block.text ?? textOf(block.content)).join("\n");
}

const USAGE = {
  input_tokens: 11,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: 5,
};
const ERROR_TYPES: Record<number, string> = {
  400: "invalid_request_error",
  401: "authentication_error",
  429: "rate_limit_error",
  529: "overloaded_error",
};

const wire: ModelWire = {
  path: /^\/v1\/messages$/,
  read(body) {
    const tools = (body.tools ?? []) as { name: string }[];
    if (tools.length === 0) return null;
    const turns = body.messages as Turn[];
    const last = turns.findLastIndex((turn) => turn.role === "assistant");
    const tail = turns.slice(last + 1).filter((turn) => turn.role === "user");
    const blocks = tail.flatMap((turn) => typeof turn.content === "string" ? [] : turn.content);
    return {
      text: tail.map((turn) => textOf(turn.content)).join("\n").replace(
        /<system-reminder>[\s\S]*?<\/system-reminder>/g,
        "",
      ),
      history: turns.map((turn) => textOf(turn.content)).join("\n"),
      afterTool: blocks.some((block) => block.type === "tool_result"),
      tools: tools.map((tool) => tool.name),
    };
  },
  side: (body) =>
    Response.json({
      id: "msg_side",
      type: "message",
      role: "assistant",
      model: body.model,
      content: [{ type: "text", text: '{"title":"Mock"}' }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: USAGE,
    }),
  events(reply, id, body) {
    const message = {
      id: `msg_${id}`,
      type: "message",
      role: "assistant",
      model: body.model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: USAGE,
    };
    const block = reply.kind === "say"
      ? { type: "text", text: "" }
      : { type: "tool_use", id: `toolu_${id}`, name: reply.name, input: {} };
    return {
      before: [
        { type: "message_start", message },
        { type: "content_block_start", index: 0, content_block: block },
        ...(reply.kind === "tool"
          ? [{
            type: "content_block_delta",
            index: 0,
            delta: { type: "input_json_delta", partial_json: JSON.stringify(reply.input) },
          }]
          : []),
      ],
      delta: (text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
      after: [
        { type: "content_block_stop", index: 0 },
        {
          type: "message_delta",
          delta: { stop_reason: reply.kind === "say" ? "end_turn" : "tool_use", stop_sequence: null },
          usage: { output_tokens: reply.outputTokens ?? 5 },
        },
        { type: "message_stop" },
      ],
    };
  },
  error: (status) => ({
    type: "error",
    error: { type: ERROR_TYPES[status] ?? "api_error", message: `mock error ${status}` },
  }),
};

/** Serves a mock of Anthropic's Messages API, as Claude Code 2.1.330 uses it. */
export function mockAnthropic(): MockModel {
  return serveMockModel(wire);
}
