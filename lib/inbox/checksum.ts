import { createHash } from "node:crypto";

/** Returns the checksum that is stored beside columns: of their values and their order. */
export function checksum(...parts: (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64url").slice(0, 16);
}
