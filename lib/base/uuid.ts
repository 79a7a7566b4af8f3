import { sha1 } from "./hash.ts";

/** Returns a UUID as 16 bytes. */
export function uuidBytes(uuid: string): Uint8Array {
  return Uint8Array.fromHex(uuid.replaceAll("-", ""));
}

/** Namespace of our delivery ids; a constant of this project. */
const DELIVERY_NAMESPACE = uuidBytes("6f1b7a52-3c0e-5d41-9a77-0d6e2f4b8c13");
const ENCODER = new TextEncoder();

/** Returns the UUID of version 5 (SHA-1, RFC 9562) for `name` in `space`. Synchronous, unlike Web Crypto. */
export function uuidV5(space: Uint8Array, name: string): string {
  const text = ENCODER.encode(name);
  const input = new Uint8Array(space.length + text.length);
  input.set(space);
  input.set(text, space.length);
  const bytes = sha1(input).subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toHex();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/**
 * Returns the identity of one delivery attempt. The same values give the same id for ever, which is what makes
 * recovery after a crash idempotent. `generation` counts re-opened dead letters: it is part of the identity, so that
 * a re-opened message gets a new one even when the journal that knew its attempts is gone.
 */
export function deliveryIdOf(
  storeId: string,
  agentId: string,
  messageId: number,
  attempt: number,
  generation = 0,
): string {
  const again = generation === 0 ? "" : `/${generation}`;
  return uuidV5(DELIVERY_NAMESPACE, `${storeId}/${agentId}/${messageId}/${attempt}${again}`);
}
