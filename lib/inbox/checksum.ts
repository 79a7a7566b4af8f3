import { sha256 } from "../base/hash.ts";

/** Returns the checksum that is stored beside columns: of their values and their order. */
export function checksum(...parts: (string | number)[]): string {
  return sha256(JSON.stringify(parts)).toBase64({ alphabet: "base64url" }).slice(0, 16);
}
