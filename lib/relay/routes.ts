import { RunnerError } from "../base/errors.ts";
import { isAgentStatus, isBusRole, isMessageId, isRecord, validateSendInput } from "../protocol/codec.ts";
import type { RegisterPayload, StatusPayload } from "../protocol/frames.ts";
import { IDENTIFIER } from "../protocol/ids.ts";
import type { CommandStatus, RelayHealth } from "../protocol/message.ts";
import { boundTo, type Caller, mustBe, mustBeOperator } from "./auth.ts";
import { validReports } from "./bus.ts";
import { eventStream } from "./event_stream.ts";
import { errorResponse, json, optionalText, queryInt, readObject, text } from "./request.ts";
import type { RelayService } from "./service.ts";

const MAX_ID = Number.MAX_SAFE_INTEGER;
const WAIT_CAP_MS = 30_000;

/** What a route works with. */
interface Call {
  request: Request;
  query: URLSearchParams;
  /** What the pattern's groups matched, decoded. */
  params: string[];
  caller: Caller;
  service: RelayService;
  /** Ends the relay after the answer was sent. */
  yieldRelay(): void;
}

interface Route {
  methods: readonly string[];
  path: RegExp;
  handle(call: Call): Promise<Response> | Response;
}

const GET = ["GET"];
const POST = ["POST"];
const CHANGE = ["POST", "PATCH", "PUT"];

function route(methods: readonly string[], path: string, handle: Route["handle"]): Route {
  const pattern = path.replaceAll(":id", "([^/]+)");
  return { methods, path: new RegExp(`^/api${pattern}$`), handle };
}

function messageId(given: string): number {
  if (!/^\d{1,15}$/.test(given)) throw new RunnerError("E_NOT_FOUND", "no such message");
  return Number(given);
}

async function claimant(call: Call): Promise<{ agentId: string; instanceId: string | undefined }> {
  const body = await readObject(call.request);
  const agentId = text(body, "agentId");
  mustBe(call.caller, agentId);
  return { agentId, instanceId: optionalText(body, "instanceId") };
}

function claim(renewal: boolean): Route["handle"] {
  return async (call) => {
    const id = messageId(call.params[0]!);
    return json(await call.service.claim(id, await claimant(call), renewal));
  };
}

/** Agents see the messages they sent or got; the operator sees all. */
function mustSee({ caller, service }: Call, id: number): void {
  if (!service.messages.exists(id)) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
  if (!service.messages.visible(id, boundTo(caller))) {
    throw new RunnerError("E_FORBIDDEN", "this message is for others");
  }
}

const ROUTES: readonly Route[] = [
  route(POST, "/messages", async ({ request, service, caller }) => {
    const input = validateSendInput(await readObject(request));
    if (!input.ok) throw new RunnerError("E_BAD_REQUEST", input.reason);
    mustBe(caller, input.value.from);
    try {
      const result = await service.send(input.value, boundTo(caller));
      return json(result, result.duplicate ? 200 : 201);
    } catch (error) {
      if (!(error instanceof RunnerError) || error.code !== "E_NO_RECIPIENT") throw error;
      return errorResponse(error, {
        candidates: [...new Set(service.agents.targets(service.now))].slice(0, 500),
      });
    }
  }),
  route(GET, "/messages", ({ query, service, caller }) => {
    const agentId = query.get("for") ?? "";
    if (agentId === "") throw new RunnerError("E_BAD_REQUEST", "missing query parameter `for`");
    mustBe(caller, agentId);
    const since = queryInt(query, "since", { min: 0, max: MAX_ID, default: 0 });
    const limit = queryInt(query, "limit", { min: 1, max: 1_000, default: 200 });
    return json({ messages: service.messages.unread(agentId, since, limit).messages });
  }),
  route(GET, "/messages/(?:cursor|latest)", ({ service }) => json({ cursor: service.messages.cursor() })),
  route(GET, "/messages/:id", (call) => {
    const id = messageId(call.params[0]!);
    mustSee(call, id);
    return json(call.service.messages.one(id));
  }),
  route(GET, "/messages/:id/thread", (call) => {
    const id = messageId(call.params[0]!);
    mustSee(call, id);
    return json({ messages: call.service.messages.thread(id, boundTo(call.caller)) });
  }),
  route(GET, "/messages/:id/receipt", async (call) => {
    const id = messageId(call.params[0]!);
    mustSee(call, id);
    const after = queryInt(call.query, "after", { min: 0, max: MAX_ID, default: 0 });
    const waitMs = queryInt(call.query, "waitMs", { min: 0, max: WAIT_CAP_MS, default: 0 });
    const receipt = await call.service.receipt(id, boundTo(call.caller), { after, waitMs });
    if (receipt === undefined) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
    return json(receipt);
  }),
  route(POST, "/messages/:id/claim", claim(false)),
  route(POST, "/messages/:id/(?:claim/renew|renew-claim)", claim(true)),
  route(POST, "/messages/:id/release", async (call) => {
    await call.service.release(messageId(call.params[0]!), await claimant(call));
    return json({ ok: true });
  }),
  route(["POST", "PATCH"], "/messages/:id/read", async (call) => {
    const id = messageId(call.params[0]!);
    const { agentId } = await claimant(call);
    if (!call.service.messages.exists(id)) throw new RunnerError("E_NOT_FOUND", `message ${id} is not here`);
    await call.service.read([id], agentId);
    return json({ ok: true });
  }),
  route(GET, "/dead", ({ query, service, caller }) => {
    const agent = query.get("agent");
    if (agent === null) mustBeOperator(caller);
    else mustBe(caller, agent);
    const limit = queryInt(query, "limit", { min: 1, max: 1_000, default: 1_000 });
    return json({ storeId: service.storeId, letters: service.dead.list(agent, limit) });
  }),
  route(POST, "/dead/(retry|drop)", async ({ params, request, service, caller }) => {
    // What one agent gave up is for a person to judge, not for another agent or for itself.
    mustBeOperator(caller);
    const body = await readObject(request);
    const { messageId, generation } = body;
    if (!isMessageId(messageId) || !isMessageId(generation)) {
      throw new RunnerError("E_BAD_REQUEST", "missing or ill-typed field `messageId` or `generation`");
    }
    const key = { messageId, generation, agentId: text(body, "agentId") };
    await (params[0] === "retry" ? service.retryDead(key) : service.dropDead(key));
    return json({ ok: true });
  }),
  route(POST, "/receipts", async ({ request, service, caller }) => {
    const reports = validReports((await readObject(request)).reports);
    for (const report of reports) mustBe(caller, report.agentId);
    await service.report(reports);
    return json({ ok: true });
  }),
  route(GET, "/agents", ({ query, service }) => {
    const filter: { tag?: string; cap?: string; label?: string; status?: string } = {};
    for (const name of ["tag", "cap", "label", "status"] as const) {
      const value = query.get(name);
      if (value !== null) filter[name] = value;
    }
    return json({ agents: service.agents.list(filter, service.now) });
  }),
  route(POST, "/agents", async ({ request, service, caller }) => {
    const body = await readObject(request);
    const payload = registration(body);
    mustBe(caller, payload.agentId!);
    const registered = await service.register(payload, boundTo(caller));
    return json({ ...service.agents.one(registered.agentId, service.now), ...registered }, 201);
  }),
  route(GET, "/agents/:id", ({ params, service }) => {
    const card = service.agents.one(params[0]!, service.now);
    if (card === undefined) throw new RunnerError("E_NOT_FOUND", "no such agent");
    return json(card);
  }),
  route(["DELETE"], "/agents/:id", async ({ params, service, caller }) => {
    mustBe(caller, params[0]!);
    if (!await service.removeAgent(params[0]!)) throw new RunnerError("E_NOT_FOUND", "no such agent");
    return json({ ok: true });
  }),
  route(POST, "/agents/:id/heartbeat", ({ params, service, caller }) => {
    mustBe(caller, params[0]!);
    if (service.agents.epoch(params[0]!) === undefined) throw new RunnerError("E_NOT_FOUND", "no such agent");
    service.heartbeat(params[0]!);
    return json({ ok: true, serverTime: service.now });
  }),
  route(CHANGE, "/agents/:id/(status|ready|label|tags)", async ({ params, request, service, caller }) => {
    const [agentId, part] = params as [string, string];
    mustBe(caller, agentId);
    if (service.agents.epoch(agentId) === undefined) throw new RunnerError("E_NOT_FOUND", "no such agent");
    const body = await readObject(request);
    if (part === "status") service.status(agentId, statusChange(body));
    else await service.patchAgent(agentId, cardChange(part, body));
    return json(service.agents.one(agentId, service.now));
  }),
  route(POST, "/commands", async ({ request, service, caller }) => {
    mustBeOperator(caller);
    const body = await readObject(request);
    const ttlMs = typeof body.ttlMs === "number" && Number.isFinite(body.ttlMs) ? body.ttlMs : undefined;
    const command = await service.createCommand({
      type: text(body, "type"),
      target: text(body, "target"),
      params: isRecord(body.params) ? body.params : {},
      source: optionalText(body, "source"),
      correlationId: optionalText(body, "correlationId"),
      ttlMs,
    });
    return json(command, 201);
  }),
  route(GET, "/commands", ({ service, caller }) => {
    mustBeOperator(caller);
    return json({ commands: service.commands.list() });
  }),
  route(GET, "/commands/:id", async ({ params, query, service, caller }) => {
    mustBeOperator(caller);
    const waitMs = queryInt(query, "waitMs", { min: 0, max: WAIT_CAP_MS, default: 0 });
    const command = await service.command(params[0]!, waitMs);
    if (command === undefined) throw new RunnerError("E_NOT_FOUND", "no such command");
    return json(command);
  }),
  route(["PATCH", "POST", "PUT"], "/commands/:id", async ({ params, request, service, caller }) => {
    mustBeOperator(caller);
    const body = await readObject(request);
    const error = optionalText(body, "error");
    return json(
      await service.updateCommand({
        commandId: params[0]!,
        status: text(body, "status") as CommandStatus,
        ...(body.result === undefined ? {} : { result: body.result }),
        ...(error === undefined ? {} : { error }),
      }),
    );
  }),
  route(["DELETE"], "/commands/:id", async ({ params, service, caller }) => {
    mustBeOperator(caller);
    if (!await service.removeCommand(params[0]!)) throw new RunnerError("E_NOT_FOUND", "no such command");
    return json({ ok: true });
  }),
  route(GET, "/events", ({ service, caller }) => {
    mustBeOperator(caller);
    return eventStream(service);
  }),
  route(POST, "/relay/yield", ({ caller, yieldRelay }) => {
    mustBeOperator(caller);
    yieldRelay();
    return json({ ok: true }, 202);
  }),
];

function registration(body: Record<string, unknown>): RegisterPayload {
  const id = optionalText(body, "id") ?? text(body, "agentId");
  const role = optionalText(body, "role") ?? "provider";
  if (!isBusRole(role)) throw new RunnerError("E_BAD_REQUEST", "unknown role");
  const meta = isRecord(body.meta) ? body.meta : {};
  const label = optionalText(body, "label");
  return {
    role,
    componentId: optionalText(body, "componentId") ?? id,
    agentId: id,
    instanceId: optionalText(body, "instanceId") ?? crypto.randomUUID(),
    capabilities: words(body.capabilities),
    tags: words(body.tags),
    machine: optionalText(body, "machine") ?? "",
    meta: label === undefined ? meta : { ...meta, label },
  };
}

function words(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string" && IDENTIFIER.test(item))) {
    throw new RunnerError("E_BAD_REQUEST", "tags and capabilities are lists of words");
  }
  return value as string[];
}

function statusChange(body: Record<string, unknown>): StatusPayload {
  const agentStatus = optionalText(body, "agentStatus") ?? text(body, "status");
  if (!isAgentStatus(agentStatus)) throw new RunnerError("E_BAD_REQUEST", "unknown status");
  return {
    agentStatus,
    ...(typeof body.ready === "boolean" ? { ready: body.ready } : {}),
  };
}

function cardChange(
  part: string,
  body: Record<string, unknown>,
): { label?: string | null; tags?: string[]; ready?: boolean } {
  if (part === "tags") return { tags: words(body.tags) };
  if (part === "ready") {
    if (typeof body.ready !== "boolean") throw new RunnerError("E_BAD_REQUEST", "ready is true or false");
    return { ready: body.ready };
  }
  const label = optionalText(body, "label") ?? null;
  if (label !== null && !IDENTIFIER.test(label)) throw new RunnerError("E_BAD_REQUEST", "not a label");
  return { label };
}

/** Answers a REST call. Never rejects. */
export async function handleApi(
  request: Request,
  url: URL,
  options: { service: RelayService; health: () => RelayHealth; yieldRelay(): void },
): Promise<Response> {
  const { service, health, yieldRelay } = options;
  try {
    // Says nothing that a stranger on this machine could not find out; lets a runner see whose port it is.
    if (url.pathname === "/health" || url.pathname === "/api/health") return json(health());
    const caller = service.auth.identify(request.headers);
    if (caller === null) throw new RunnerError("E_UNAUTHORIZED", "missing or wrong relay token");
    let known = false;
    for (const { path, methods, handle } of ROUTES) {
      const match = path.exec(url.pathname);
      if (!match) continue;
      known = true;
      if (!methods.includes(request.method)) continue;
      const params = match.slice(1).map((part) => decodeURIComponent(part ?? ""));
      return await handle({ request, query: url.searchParams, params, caller, service, yieldRelay });
    }
    throw known
      ? new RunnerError("E_METHOD", "method not allowed here")
      : new RunnerError("E_NOT_FOUND", "no such route");
  } catch (error) {
    if (error instanceof URIError) return errorResponse(new RunnerError("E_NOT_FOUND", "no such route"));
    return errorResponse(error);
  }
}
