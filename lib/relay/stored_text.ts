/**
 * Returns a text that was read as the bytes that are stored. As a text it comes up to its first NUL: SQLite keeps the
 * rest, and its driver leaves it out (Deno 2.9.6).
 */
export function storedText(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
