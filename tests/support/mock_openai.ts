import { type MockModel, type ModelWire, serveMockModel } from "./mock_model.ts";

type Item = { type?: string; role?: string; content?: string | { text?: string }[]; output?: unknown };
type Tool = { type: string; name?: string; tools?: Tool[] };

function textOf(item: Item): string {
  if (typeof item.content === "string") return item.content;
  return (item.content ?? []).map((part) => part.text ?? "").join("");
}

const USAGE = {
  input_tokens: 10,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 5,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 15,
};

const wire: ModelWire = {
  path: /\/responses$/,
  read(body) {
    const input = body.input as Item[];
    const last = input.findLastIndex((item) => item.type === "message" && item.role === "assistant");
    const tail = input.slice(last + 1);
    return {
      text: tail.filter((item) => item.type === "message" && item.role === "user").map(textOf).join("\n"),
      history: input.map(textOf).join("\n"),
      afterTool: /_output$/.test(input.at(-1)?.type ?? ""),
      tools: names(body.tools as Tool[] | undefined),
    };
  },
  side: () => Response.json({ error: { message: "no side calls" } }, { status: 404 }),
  events(reply, id) {
    const created = { type: "response.created", response: { id: `resp_${id}` } };
    const completed = { type: "response.completed", response: { id: `resp_${id}`, usage: USAGE } };
    if (reply.kind === "tool") {
      const item = {
        type: "function_call",
        id: `fc_${id}`,
        call_id: `call_${id}`,
        name: reply.name,
        arguments: JSON.stringify(reply.input),
      };
      return {
        before: [created],
        delta: () => created,
        after: [{ type: "response.output_item.done", item }, completed],
      };
    }
    const item = { type: "message", role: "assistant", id: `msg_${id}`, content: [] as unknown[] };
    return {
      before: [created, { type: "response.output_item.added", item }],
      delta: (text) => ({ type: "response.output_text.delta", item_id: item.id, delta: text }),
      after: [
        {
          type: "response.output_item.done",
          item: { ...item, content: [{ type: "output_text", text: reply.text }] },
        },
        completed,
      ],
    };
  },
  error: (status) => ({ error: { message: `mock error ${status}`, type: "mock", code: "mock" } }),
};

function names(tools: Tool[] | undefined): string[] {
  return (tools ?? []).flatMap((
    tool,
  ) => [...(tool.name === undefined ? [] : [tool.name]), ...names(tool.tools)]);
}

/** Serves a mock of OpenAI's Responses API, as Codex 0.169.0 uses it. */
export function mockOpenAi(): MockModel {
  return serveMockModel(wire);
}
