import type { FailureClass } from "../contract.ts";

/** Error of a turn, as `turn/completed` carries it. */
export interface CodexTurnError {
  message?: string;
  codexErrorInfo?: unknown;
}

const PROVIDER = new Set(["unauthorized", "usageLimitExceeded", "sessionBudgetExceeded", "modelNotFound"]);
const MESSAGE = new Set(["contextWindowExceeded", "badRequest", "cyberPolicy"]);

/** Says what a failed turn means for its messages (Codex 0.169.0). */
export function classify(error: CodexTurnError | null | undefined): FailureClass {
  const info = error?.codexErrorInfo;
  if (typeof info === "string") {
    if (PROVIDER.has(info)) return "provider";
    if (MESSAGE.has(info)) return "message";
  }
  const status = httpStatusOf(info) ??
    Number(/\b(?:status|error)\D{0,12}(\d{3})\b/i.exec(error?.message ?? "")?.[1]);
  if (status === 401 || status === 403) return "provider";
  if (status === 400 || status === 413 || status === 422) return "message";
  if (/unauthorized|not logged in|usage limit/i.test(error?.message ?? "")) return "provider";
  return "transient";
}

/** The HTTP status inside an object like `{httpConnectionFailed: {httpStatusCode}}`. */
function httpStatusOf(info: unknown): number | undefined {
  if (typeof info !== "object" || info === null) return undefined;
  for (const value of Object.values(info)) {
    const status = (value as { httpStatusCode?: unknown } | null)?.httpStatusCode;
    if (typeof status === "number") return status;
  }
  return undefined;
}
