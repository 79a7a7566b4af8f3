import { readAllCapped } from "../base/bytes.ts";
import { RunnerError } from "../base/errors.ts";
import { decodeJson, FRAME_LIMIT, isRecord, PART_DEPTH } from "../protocol/codec.ts";
import { httpStatusOf } from "../protocol/http_status.ts";

const BODY_MS = 10_000;

/** A JSON answer that is never cached. */
export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return Response.json(value, {
    status,
    headers: { "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers },
  });
}

/** The answer to an expected failure; anything else is 500 without details. */
export function errorResponse(error: unknown, more: Record<string, unknown> = {}): Response {
  if (!(error instanceof RunnerError)) return json({ error: "internal error", code: "E_INTERNAL" }, 500);
  const retry: Record<string, string> = error.code === "E_RATE" || error.code === "E_STATE_WRITE"
    ? { "retry-after": "1" }
    : {};
  return json({ error: error.message, code: error.code, ...more }, httpStatusOf(error.code), retry);
}

/** Reads a request's JSON object within 10 s and 4 MiB. Throws `E_MEDIA_TYPE`, `E_TOO_LARGE`, `E_BAD_REQUEST`. */
export async function readObject(request: Request, maxBytes = FRAME_LIMIT): Promise<Record<string, unknown>> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json(\s*;\s*charset=utf-8)?$/i.test(type.trim())) {
    throw new RunnerError("E_MEDIA_TYPE", "expected application/json");
  }
  let body;
  try {
    body = await readAllCapped(request.body, { maxBytes, signal: AbortSignal.timeout(BODY_MS) });
  } catch {
    throw new RunnerError("E_TIMEOUT", "the body did not arrive in time");
  }
  if (!body.ok) throw new RunnerError("E_TOO_LARGE", `the body is larger than ${maxBytes} bytes`);
  const decoded = decodeJson(new TextDecoder().decode(body.bytes), maxBytes, PART_DEPTH + 1);
  if (!decoded.ok) throw new RunnerError("E_BAD_REQUEST", decoded.reason);
  if (!isRecord(decoded.value)) throw new RunnerError("E_BAD_REQUEST", "expected a JSON object");
  return decoded.value;
}

/** A required text member. */
export function text(body: Record<string, unknown>, name: string): string {
  const value = body[name];
  if (typeof value !== "string" || value === "" || value.length > 512) {
    throw new RunnerError("E_BAD_REQUEST", `missing or ill-typed field \`${name}\``);
  }
  if (value.includes("\0")) {
    throw new RunnerError("E_BAD_REQUEST", `field \`${name}\` contains a NUL character`);
  }
  return value;
}

/** A text member that may be absent. */
export function optionalText(body: Record<string, unknown>, name: string): string | undefined {
  return body[name] === undefined || body[name] === null ? undefined : text(body, name);
}

/** A whole number of the query inside the bounds, or the default when absent. */
export function queryInt(
  query: URLSearchParams,
  name: string,
  bounds: { min: number; max: number; default: number },
): number {
  const given = query.get(name);
  if (given === null) return bounds.default;
  const value = /^\d{1,15}$/.test(given) ? Number(given) : NaN;
  if (!(value >= bounds.min && value <= bounds.max)) {
    throw new RunnerError("E_BAD_REQUEST", `ill-typed query parameter \`${name}\``);
  }
  return value;
}
