import { sha256 } from "../base/hash.ts";

/** Characters of a checksum of versions 1 and 2; today's have {@linkcode DIGITS} times two. */
const SHA_CHARS = 16;
/** Of 32 bits in base 36. */
const DIGITS = 7;

/**
 * Returns the checksum that is stored beside columns: 64 bits of their values and their order.
 *
 * It is there for what a disk does to a row, not for an attacker, who could write the checksum as well. Every step is a
 * bijection of the state, so one changed character is noticed for certain, and more of them but for one time in 2^64. Of
 * SHA-256, which versions 1 and 2 had, a burst spent a tenth of its time.
 */
export function checksum(...columns: (string | number)[]): string {
  let a = 0x811c9dc5;
  let b = 0x41c6ce57;
  for (const column of columns) {
    const text = String(column);
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      a = Math.imul(a ^ unit, 0x85ebca6b);
      a ^= a >>> 13;
      b = Math.imul(b ^ unit, 0xc2b2ae35);
      b ^= b >>> 15;
    }
    // Where a column ends is part of it.
    a = Math.imul(a ^ text.length, 0x27d4eb2f);
    a ^= a >>> 16;
    b = Math.imul(b ^ text.length, 0x165667b1);
    b ^= b >>> 13;
  }
  return digits(a) + digits(b);
}

/** True when the columns are what they were when `stored` was made from them, by this version or an earlier one. */
export function fits(stored: string, ...columns: (string | number)[]): boolean {
  return stored === checksum(...columns) ||
    (stored.length === SHA_CHARS && stored === shaChecksum(...columns));
}

/** The checksum of versions 1 and 2. Exported for its test. */
export function shaChecksum(...columns: (string | number)[]): string {
  return sha256(JSON.stringify(columns)).toBase64({ alphabet: "base64url" }).slice(0, SHA_CHARS);
}

function digits(word: number): string {
  return (word >>> 0).toString(36).padStart(DIGITS, "0");
}
