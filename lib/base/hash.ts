/**
 * SHA-256, SHA-1 and HMAC, synchronous. `node:crypto` is 16 ms of a start and 4 MiB of an idle runner (Deno 2.9.6), and Web
 * Crypto is asynchronous, which the core and the journal are not. So what little a start needs is computed here, and the
 * runtime's own, ten times as fast for long inputs, is fetched once there is enough to hash. Both give the same bytes
 * (`tests/base/hash_test.ts`).
 */

const ENCODER = new TextEncoder();
const BLOCK = 64;

/** Bytes of a text in UTF-8, or bytes as they are. */
type Input = string | Uint8Array;

const bytesOf = (input: Input) => typeof input === "string" ? ENCODER.encode(input) : input;

/** First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K = Uint32Array.from(primes(64), (prime) => fraction(Math.cbrt(prime)));
/** The same of the square roots of the first 8. */
const START_256 = Uint32Array.from(primes(8), (prime) => fraction(Math.sqrt(prime)));
const START_1 = Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);

/** Bytes hashed here until the runtime's own is fetched: more than a start, less than a burst. */
const WORTH_BYTES = 32 * 1024;

/** Digest of a text or of bytes in lower-case hexadecimal. */
type Native = (algorithm: "sha256" | "sha1", input: Input) => string;

let hashedBytes = 0;
let native: Native | null = null;

/** The runtime's own once it is worth its loading. By the synchronous door, for a loop that awaits nothing. */
function nativeFor(input: Input): Native | null {
  if (native !== null) return native;
  hashedBytes += input.length + BLOCK;
  if (hashedBytes < WORTH_BYTES) return null;
  const { hash, createHash } = nodeCrypto();
  // In one call, which takes a text as it is: a third of the time of a hash object (Deno 2.9.6).
  return native = typeof hash === "function"
    ? (algorithm, bytes) => hash(algorithm, bytes, "hex")
    : (algorithm, bytes) => createHash(algorithm).update(bytes).digest("hex");
}

function nodeCrypto(): typeof import("node:crypto") {
  const { process } = globalThis as unknown as {
    process: { getBuiltinModule(name: string): typeof import("node:crypto") };
  };
  return process.getBuiltinModule("node:crypto");
}

/** SHA-256, 32 bytes. */
export function sha256(input: Input): Uint8Array<ArrayBuffer> {
  const hex = nativeFor(input)?.("sha256", input);
  return hex === undefined ? sha256Here(bytesOf(input)) : Uint8Array.fromHex(hex);
}

/** SHA-1, 20 bytes. For UUIDs of version 5 only; it protects nothing. */
export function sha1(input: Input): Uint8Array<ArrayBuffer> {
  const hex = nativeFor(input)?.("sha1", input);
  return hex === undefined ? sha1Here(bytesOf(input)) : Uint8Array.fromHex(hex);
}

/** {@linkcode sha256} computed in this file. Exported for its test. */
export function sha256Here(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const state = START_256.slice();
  const w = new Uint32Array(64);
  eachBlock(bytes, w, () => {
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15]!;
      const b = w[i - 2]!;
      const s0 = rotate(a, 25) ^ rotate(a, 14) ^ (a >>> 3);
      const s1 = rotate(b, 15) ^ rotate(b, 13) ^ (b >>> 10);
      w[i] = w[i - 16]! + s0 + w[i - 7]! + s1;
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as number[] as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 26) ^ rotate(e, 21) ^ rotate(e, 7);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
      const s0 = rotate(a, 30) ^ rotate(a, 19) ^ rotate(a, 10);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    add(state, a, b, c, d, e, f, g, h);
  });
  return bigEndian(state);
}

/** {@linkcode sha1} computed in this file. Exported for its test. */
export function sha1Here(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const state = START_1.slice();
  const w = new Uint32Array(80);
  eachBlock(bytes, w, () => {
    for (let i = 16; i < 80; i++) w[i] = rotate(w[i - 3]! ^ w[i - 8]! ^ w[i - 14]! ^ w[i - 16]!, 1);
    let [a, b, c, d, e] = state as unknown as number[] as [number, number, number, number, number];
    for (let i = 0; i < 80; i++) {
      const [f, k] = i < 20
        ? [(b & c) | (~b & d), 0x5a827999]
        : i < 40
        ? [b ^ c ^ d, 0x6ed9eba1]
        : i < 60
        ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
        : [b ^ c ^ d, 0xca62c1d6];
      const next = (rotate(a, 5) + f + e + k + w[i]!) | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = next;
    }
    add(state, a, b, c, d, e);
  });
  return bigEndian(state);
}

/** HMAC with SHA-256 (RFC 2104), 32 bytes. */
export function hmacSha256(key: Input, input: Input): Uint8Array<ArrayBuffer> {
  let block = bytesOf(key);
  if (block.length > BLOCK) block = sha256(block);
  const padded = (byte: number, rest: Uint8Array) => {
    const bytes = new Uint8Array(BLOCK + rest.length);
    bytes.set(block);
    for (let i = 0; i < BLOCK; i++) bytes[i]! ^= byte;
    bytes.set(rest, BLOCK);
    return bytes;
  };
  return sha256(padded(0x5c, sha256(padded(0x36, bytesOf(input)))));
}

/** SHA-256 in lower-case hexadecimal. */
export function sha256Hex(input: Input): string {
  return nativeFor(input)?.("sha256", input) ?? sha256Here(bytesOf(input)).toHex();
}

/** Fills the first 16 words with each block of the padded input in turn. */
function eachBlock(bytes: Uint8Array, words: Uint32Array, work: () => void): void {
  const whole = bytes.length - bytes.length % BLOCK;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < whole; at += BLOCK) {
    for (let i = 0; i < 16; i++) words[i] = view.getUint32(at + i * 4);
    work();
  }
  const rest = bytes.length - whole;
  const tail = new Uint8Array(rest < BLOCK - 8 ? BLOCK : 2 * BLOCK);
  tail.set(bytes.subarray(whole));
  tail[rest] = 0x80;
  const end = new DataView(tail.buffer);
  end.setBigUint64(tail.length - 8, BigInt(bytes.length) * 8n);
  for (let at = 0; at < tail.length; at += BLOCK) {
    for (let i = 0; i < 16; i++) words[i] = end.getUint32(at + i * 4);
    work();
  }
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function add(state: Uint32Array, ...values: number[]): void {
  for (let i = 0; i < values.length; i++) state[i]! += values[i]!;
}

function bigEndian(words: Uint32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => view.setUint32(i * 4, word));
  return bytes;
}

function fraction(root: number): number {
  return (root - Math.floor(root)) * 2 ** 32;
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    if (found.every((prime) => n % prime !== 0)) found.push(n);
  }
  return found;
}
