import type { ErrorCode } from "../base/errors.ts";

/** HTTP status of the codes that reach HTTP; everything else is 500. The only place that translates so. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  E_BAD_REQUEST: 400,
  E_UNAUTHORIZED: 401,
  E_FORBIDDEN: 403,
  E_NOT_FOUND: 404,
  E_METHOD: 405,
  E_TIMEOUT: 408,
  E_CONFLICT: 409,
  E_TOO_LARGE: 413,
  E_MEDIA_TYPE: 415,
  E_UNPROCESSABLE: 422,
  E_NO_RECIPIENT: 422,
  E_RATE: 429,
  E_STATE_WRITE: 503,
};

/** Returns the HTTP status of an error code. */
export function httpStatusOf(code: ErrorCode): number {
  return STATUS[code] ?? 500;
}
