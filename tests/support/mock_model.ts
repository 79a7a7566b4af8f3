/** What a mock model does with one request. */
export type MockReply =
  /** Streams a text; with `slowMs` in pieces over that time. */
  | { kind: "say"; text: string; slowMs?: number; outputTokens?: number }
  /** Calls a tool. */
  | { kind: "tool"; name: string; input: Record<string, unknown>; outputTokens?: number }
  /** Answers with an HTTP error. */
  | { kind: "error"; status: number }
  /** Begins to stream and never ends. */
  | { kind: "hang" };

/** One request that asked the model. */
export interface MockRequest {
  /** Text of everything the user said since the last answer of the model. */
  text: string;
  /** Text of the whole conversation the request carried. */
  history: string;
  /** True when the newest input is the result of a tool. */
  afterTool: boolean;
  /** Names of the tools that the request offers. */
  tools: string[];
  body: Record<string, unknown>;
  at: number;
}

/** A model API on the loopback that a test can steer and question. */
export interface MockModel {
  readonly url: string;
  readonly requests: MockRequest[];
  /** Decides what each request gets; without it the reply is `mock: <text>`, steered by directives in the text. */
  decide: ((request: MockRequest) => MockReply | null | Promise<MockReply | null>) | null;
  /** Number of requests whose newest user text contains `needle`. */
  asked(needle: string): number;
  /** Resolves once that number is at least `count`; rejects after 30 s. */
  untilAsked(needle: string, count?: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * The default model: obeys `[[say TEXT]]`, `[[slow MS]]`, `[[tool NAME JSON]]`, `[[error STATUS]]`, `[[tokens N]]` (usage) and `[[hang]]` in the
 * newest user text, else echoes its end.
 */
export function obey(request: MockRequest): MockReply {
  const { text } = request;
  const last = (pattern: RegExp) => [...text.matchAll(pattern)].at(-1);
  const error = last(/\[\[error (\d+)\]\]/g);
  if (error) return { kind: "error", status: Number(error[1]) };
  if (/\[\[hang\]\]/.test(text)) return { kind: "hang" };
  const count = last(/\[\[tokens (\d+)\]\]/g);
  const tokens = count ? { outputTokens: Number(count[1]) } : {};
  const tool = last(/\[\[tool (\S+) ([\s\S]*?)\]\]/g);
  if (tool && !request.afterTool) {
    return {
      kind: "tool",
      name: tool[1]!,
      input: JSON.parse(tool[2]!) as Record<string, unknown>,
      ...tokens,
    };
  }
  const say = last(/\[\[say ([\s\S]*?)\]\]/g)?.[1] ?? `mock: ${text.trim().slice(-200)}`;
  const slow = last(/\[\[slow (\d+)\]\]/g);
  return { kind: "say", text: say, ...(slow ? { slowMs: Number(slow[1]) } : {}), ...tokens };
}

/** Speaks one vendor's wire format. */
export interface ModelWire {
  /** Path of the call that asks the model. */
  path: RegExp;
  /** Reads a request's body; null when it does not ask the main model (a title, a summary). */
  read(body: Record<string, unknown>): Omit<MockRequest, "at" | "body"> | null;
  /** Answers a call that does not ask the main model. */
  side(body: Record<string, unknown>): Response;
  /** Events of an answer; `id` is unique. */
  events(reply: Extract<MockReply, { kind: "say" | "tool" }>, id: number, body: Record<string, unknown>): {
    before: unknown[];
    /** The pieces of a streamed text. */
    delta(text: string): unknown;
    after: unknown[];
  };
  error(status: number): unknown;
}

const CHUNK_MS = 100;

/** Serves a mock model on a free loopback port. */
export function serveMockModel(wire: ModelWire): MockModel {
  const requests: MockRequest[] = [];
  const waiting = new Set<() => void>();
  const abort = new AbortController();
  let count = 0;
  const model: MockModel = {
    url: "",
    requests,
    decide: null,
    asked: (needle) => requests.filter((request) => request.text.includes(needle)).length,
    async untilAsked(needle, wanted = 1) {
      const deadline = AbortSignal.timeout(30_000);
      while (model.asked(needle) < wanted) {
        await new Promise<void>((resolve, reject) => {
          const fail = () =>
            reject(new Error(`the model was asked ${model.asked(needle)} times for "${needle}"`));
          const done = () => {
            deadline.removeEventListener("abort", fail);
            waiting.delete(done);
            resolve();
          };
          deadline.addEventListener("abort", fail, { once: true });
          waiting.add(done);
        });
      }
    },
    async stop() {
      abort.abort();
      await server.finished;
    },
  };
  const stream = (
    reply: Extract<MockReply, { kind: "say" | "tool" | "hang" }>,
    id: number,
    body: Record<string, unknown>,
  ) => {
    const spoken = reply.kind === "hang" ? { kind: "say" as const, text: "hanging" } : reply;
    const { before, delta, after } = wire.events(spoken, id, body);
    const encoder = new TextEncoder();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const event = (value: unknown) => {
      const { type } = value as { type: string };
      return encoder.encode(`event: ${type}\ndata: ${JSON.stringify(value)}\n\n`);
    };
    return new ReadableStream<Uint8Array>({
      start(controller) {
        before.forEach((each) => controller.enqueue(event(each)));
        if (reply.kind === "hang") return controller.enqueue(event(delta("hanging ")));
        const finish = () => {
          after.forEach((each) => controller.enqueue(event(each)));
          controller.close();
        };
        if (reply.kind === "tool") return finish();
        const pieces = Math.max(1, Math.ceil((reply.slowMs ?? 0) / CHUNK_MS));
        const size = Math.ceil(reply.text.length / pieces);
        let piece = 0;
        const next = () => {
          const text = reply.text.slice(piece * size, (piece + 1) * size);
          if (text !== "") controller.enqueue(event(delta(text)));
          if (++piece >= pieces) return finish();
          timer = setTimeout(later, CHUNK_MS);
        };
        const later = () => {
          try {
            next();
          } catch { /* the agent hung up, of which this stream is told later */ }
        };
        next();
      },
      cancel() {
        clearTimeout(timer);
      },
    });
  };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: abort.signal, onListen: () => {} },
    async (request) => {
      const url = new URL(request.url);
      if (request.method !== "POST" || !wire.path.test(url.pathname)) {
        await request.body?.cancel();
        return Response.json({ data: [], models: [], has_more: false }, {
          status: request.method === "GET" ? 200 : 404,
        });
      }
      const body = await request.json() as Record<string, unknown>;
      const read = wire.read(body);
      if (read === null) return wire.side(body);
      const asked: MockRequest = { ...read, body, at: Date.now() };
      requests.push(asked);
      for (const done of [...waiting]) done();
      const reply = await model.decide?.(asked) ?? obey(asked);
      if (reply.kind === "error") {
        // The real APIs say so too; without it Claude Code asks again for minutes.
        const headers = { "x-should-retry": "false" };
        return Response.json(wire.error(reply.status), { status: reply.status, headers });
      }
      return new Response(stream(reply, ++count, body), { headers: { "content-type": "text/event-stream" } });
    },
  );
  return Object.assign(model, { url: `http://127.0.0.1:${server.addr.port}` });
}
