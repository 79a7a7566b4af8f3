import { sha256 } from "./hash.ts";

/** Returns `bytes` random bytes as URL-safe text; 32 bytes (the default) are a token, 16 a nonce. */
export function randomToken(bytes = 32): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Returns `bytes` random bytes in lower-case hex. */
export function randomHex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}

/** Compares in constant time, over SHA-256 of both, so that not even the length leaks. */
export function sameSecret(given: string, expected: string): boolean {
  const [a, b] = [sha256(given), sha256(expected)];
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
