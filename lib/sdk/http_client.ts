import { readAllCapped } from "../base/bytes.ts";
import { fetchProblem, messageOf } from "../base/errors.ts";
import { decodeJson, isRecord, validateMessage } from "../protocol/codec.ts";
import type {
  AgentCard,
  ClaimGrant,
  Command,
  DeadLetter,
  Message,
  Receipt,
  RelayHealth,
  SendInput,
  SendResult,
  StageReport,
} from "../protocol/message.ts";
import type { CallFailure, CallResult, ClaimResult, RelayHttp } from "./contract.ts";
import { readAgent, readAgents, readLetters, readReceipt } from "./replies.ts";
import { apiUrl } from "./url.ts";

const CALL_MS = 10_000;
const SMALL = 1024 * 1024;
const PAGE = 4 * 1024 * 1024;
const RETRY_AFTER_CAP_MS = 300_000;

/** How to build a {@linkcode RelayHttpClient}. */
export interface HttpClientOptions {
  /** Base URL of the relay. */
  url: string;
  /** Asked before every call, so that an agent-bound token can replace the first one. */
  token: string | null | (() => string | null);
}

interface CallOptions {
  body?: unknown;
  timeoutMs?: number;
  maxBytes?: number;
  signal?: AbortSignal | undefined;
}

/** The REST side of the relay. Outcomes are values; a reply that makes no sense is `unknown`, never success. */
export class RelayHttpClient implements RelayHttp {
  readonly #base: string;
  readonly #token: () => string | null;

  constructor(options: HttpClientOptions) {
    this.#base = apiUrl(options.url);
    const { token } = options;
    this.#token = typeof token === "function" ? token : () => token;
  }

  health(signal?: AbortSignal): Promise<CallResult<RelayHealth>> {
    return this.#call(
      "GET",
      "/api/health",
      { signal, timeoutMs: 3_000 },
      (value) =>
        value.service === "agent-relay" && typeof value.storeId === "string"
          ? value as unknown as RelayHealth
          : undefined,
    );
  }

  send(input: SendInput, signal?: AbortSignal): Promise<CallResult<SendResult>> {
    // The answer holds the message, whose body alone may fill a small one.
    return this.#call("POST", "/api/messages", { body: input, signal, maxBytes: PAGE }, (value) => {
      const message = validateMessage(value.message);
      return message.ok && Array.isArray(value.recipients) ? value as unknown as SendResult : undefined;
    });
  }

  getMessage(id: number, signal?: AbortSignal): Promise<CallResult<Message>> {
    return this.#call("GET", `/api/messages/${id}`, { signal, maxBytes: PAGE }, oneMessage);
  }

  listUnread(
    agentId: string,
    options: { sinceId?: number; limit?: number } = {},
  ): Promise<CallResult<Message[]>> {
    const query = new URLSearchParams({
      for: agentId,
      unread: "1",
      since: String(options.sinceId ?? 0),
      limit: String(options.limit ?? 200),
    });
    return this.#call("GET", `/api/messages?${query}`, { maxBytes: PAGE, timeoutMs: 30_000 }, messageList);
  }

  thread(id: number): Promise<CallResult<Message[]>> {
    return this.#call("GET", `/api/messages/${id}/thread`, { maxBytes: PAGE }, messageList);
  }

  receipt(
    id: number,
    options: { after?: number; waitMs?: number; signal?: AbortSignal } = {},
  ): Promise<CallResult<Receipt>> {
    const waitMs = Math.min(30_000, options.waitMs ?? 0);
    const query = new URLSearchParams({ after: String(options.after ?? 0), waitMs: String(waitMs) });
    const call = { maxBytes: PAGE, timeoutMs: CALL_MS + waitMs, signal: options.signal };
    return this.#call(
      "GET",
      `/api/messages/${id}/receipt?${query}`,
      call,
      readReceipt,
    );
  }

  claimMessage(id: number, by: { agentId: string; instanceId?: string }): Promise<ClaimResult> {
    return this.#claim(`/api/messages/${id}/claim`, by);
  }

  renewClaim(id: number, by: { agentId: string; instanceId?: string }): Promise<ClaimResult> {
    return this.#claim(`/api/messages/${id}/claim/renew`, by);
  }

  releaseClaim(id: number, by: { agentId: string; instanceId?: string }): Promise<CallResult<null>> {
    return this.#call("POST", `/api/messages/${id}/release`, { body: by }, nothing);
  }

  async markRead(id: number, agentId: string): Promise<CallResult<null>> {
    const result = await this.#call("POST", `/api/messages/${id}/read`, { body: { agentId } }, nothing);
    const gone = !result.ok && result.kind === "rejected" && (result.status === 404 || result.status === 410);
    return gone ? { ok: true, value: null } : result;
  }

  reportStages(reports: StageReport[]): Promise<CallResult<null>> {
    return this.#call("POST", "/api/receipts", { body: { reports } }, nothing);
  }

  listAgents(
    filter: { tag?: string; cap?: string; label?: string; status?: string } = {},
    signal?: AbortSignal,
  ): Promise<CallResult<AgentCard[]>> {
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== undefined));
    return this.#call(
      "GET",
      `/api/agents?${query}`,
      { maxBytes: PAGE, signal },
      readAgents,
    );
  }

  getAgent(id: string): Promise<CallResult<AgentCard>> {
    return this.#call(
      "GET",
      `/api/agents/${encodeURIComponent(id)}`,
      {},
      readAgent,
    );
  }

  deleteAgent(id: string): Promise<CallResult<null>> {
    return this.#call("DELETE", `/api/agents/${encodeURIComponent(id)}`, {}, nothing);
  }

  listDead(
    filter: { agentId?: string; limit?: number } = {},
  ): Promise<CallResult<{ storeId: string; letters: DeadLetter[] }>> {
    const query = new URLSearchParams({ limit: String(filter.limit ?? 1_000) });
    if (filter.agentId !== undefined) query.set("agent", filter.agentId);
    return this.#call(
      "GET",
      `/api/dead?${query}`,
      { maxBytes: PAGE },
      readLetters,
    );
  }

  retryDead(letter: { messageId: number; agentId: string; generation: number }): Promise<CallResult<null>> {
    return this.#call("POST", "/api/dead/retry", { body: letter }, nothing);
  }

  dropDead(letter: { messageId: number; agentId: string; generation: number }): Promise<CallResult<null>> {
    return this.#call("POST", "/api/dead/drop", { body: letter }, nothing);
  }

  createCommand(
    input: { type: string; target: string; params?: Record<string, unknown>; ttlMs?: number },
  ): Promise<CallResult<Command>> {
    return this.#call("POST", "/api/commands", { body: input }, oneCommand);
  }

  getCommand(id: string, waitMs = 0): Promise<CallResult<Command>> {
    const path = `/api/commands/${encodeURIComponent(id)}?waitMs=${Math.min(30_000, Math.ceil(waitMs))}`;
    return this.#call("GET", path, { timeoutMs: CALL_MS + waitMs }, oneCommand);
  }

  /** Asks an embedded relay to stop serving, so that a standalone one can take its place. */
  yieldRelay(): Promise<CallResult<null>> {
    return this.#call("POST", "/api/relay/yield", { body: {} }, nothing);
  }

  async #claim(path: string, by: { agentId: string; instanceId?: string }): Promise<ClaimResult> {
    const result = await this.#call(
      "POST",
      path,
      { body: by },
      (value) => typeof value.leaseMs === "number" ? value as unknown as ClaimGrant : undefined,
    );
    if (!result.ok && result.kind === "rejected" && [404, 409, 410].includes(result.status)) {
      return { ok: false, kind: "lost" };
    }
    return result;
  }

  async #call<T>(
    method: string,
    path: string,
    options: CallOptions,
    read: (value: Record<string, unknown>) => T | undefined,
  ): Promise<CallResult<T>> {
    const timeoutMs = options.timeoutMs ?? CALL_MS;
    const deadline = AbortSignal.timeout(timeoutMs);
    const silent = (): CallFailure => ({
      ok: false,
      kind: "unknown",
      message: `no answer within ${timeoutMs / 1000} s`,
      silent: true,
    });
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
    const token = this.#token();
    let response: Response;
    let bytes: Uint8Array;
    try {
      response = await fetch(this.#base + path, {
        method,
        redirect: "error",
        signal,
        headers: {
          ...(token === null ? {} : { "x-agent-relay-token": token }),
          ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (deadline.aborted) return silent();
      // Only a connection that was never made proves that nothing was done.
      const why = fetchProblem(error);
      const unreached = /client error \(Connect\)/.test(why);
      return { ok: false, kind: unreached ? "unavailable" : "unknown", message: reasonOf(why) };
    }
    try {
      const body = await readAllCapped(response.body, { maxBytes: options.maxBytes ?? SMALL, signal });
      if (!body.ok) {
        const firstId = firstIdOf(body.head);
        return { ok: false, kind: "unknown", message: "the reply is too large", oversize: { firstId } };
      }
      bytes = body.bytes;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (deadline.aborted) return silent();
      return { ok: false, kind: "unknown", message: `the reply was cut: ${messageOf(error)}` };
    }
    return judge(response, new TextDecoder().decode(bytes), read);
  }
}

/** The id of the first message of a page that was not read to its end, null when it does not begin as ours do. */
function firstIdOf(head: Uint8Array): number | null {
  const found = /^\{"messages":\[\{"id":(\d{1,15}),/.exec(new TextDecoder().decode(head));
  return found === null ? null : Number(found[1]);
}

/** The last clause of the platform's message; the ones before name the URL, which the caller knows. */
function reasonOf(message: string): string {
  return /client error \(\w+\): (.*)$/s.exec(message)?.[1] ?? message;
}

function judge<T>(
  response: Response,
  text: string,
  read: (value: Record<string, unknown>) => T | undefined,
): CallResult<T> {
  const { status } = response;
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
  const json = isJson ? decodeJson(text, PAGE) : null;
  const value = json?.ok && isRecord(json.value) ? json.value : null;
  if (status === 204) {
    const empty = read({});
    if (empty !== undefined) return { ok: true, value: empty };
  }
  if (status >= 200 && status < 300) {
    const result = value === null ? undefined : read(value);
    if (result !== undefined) return { ok: true, value: result };
    return { ok: false, kind: "unknown", message: "expected a JSON object of the relay" };
  }
  const ours = typeof value?.error === "string";
  const message = ours ? (value.error as string).slice(0, 300) : `HTTP ${status}`;
  const foreign = ours ? {} : { foreign: true as const };
  if (status === 401 || status === 403) return { ok: false, kind: "auth", status, message };
  if (status >= 500 || status === 425 || status === 429) {
    const after = Number(response.headers.get("retry-after"));
    return {
      ok: false,
      kind: "unavailable",
      message,
      ...foreign,
      ...(after > 0 ? { retryAfterMs: Math.min(RETRY_AFTER_CAP_MS, after * 1000) } : {}),
    };
  }
  const code = typeof value?.code === "string" ? value.code : "E_RELAY_REFUSED";
  const candidates = Array.isArray(value?.candidates) ? value.candidates.map(String) : undefined;
  return {
    ok: false,
    kind: "rejected",
    status,
    code,
    message,
    ...(candidates ? { candidates } : {}),
    ...foreign,
  };
}

/** For calls whose answer carries nothing; `undefined` would mean an ill-shaped reply. */
function nothing(): null {
  return null;
}

function oneMessage(value: Record<string, unknown>): Message | undefined {
  const message = validateMessage(value);
  return message.ok ? message.value : undefined;
}

function messageList(value: Record<string, unknown>): Message[] | undefined {
  if (!Array.isArray(value.messages)) return undefined;
  return value.messages.flatMap((item) => {
    const message = validateMessage(item);
    return message.ok ? [message.value] : [];
  });
}

function oneCommand(value: Record<string, unknown>): Command | undefined {
  return typeof value.id === "string" && typeof value.status === "string"
    ? value as unknown as Command
    : undefined;
}
