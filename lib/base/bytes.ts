/** A line of a stream, or the fact that one was too long to keep. */
export type Line = { kind: "line"; text: string } | { kind: "too-long"; bytes: number };

/**
 * Yields the lines of a byte stream, decoded as UTF-8 (also when a character is split between chunks), without
 * their line feed and a carriage return before it. A line over `maxLineBytes` is dropped and reported as a
 * value, so that a hostile writer cannot grow the memory. The last line need not end with a line feed.
 */
export async function* lines(
  stream: AsyncIterable<Uint8Array>,
  options: { maxLineBytes: number },
): AsyncGenerator<Line, void, void> {
  for await (const batch of lineBatches(stream, options)) yield* batch;
}

/** Like {@linkcode lines}, but yields together what arrived together, so that it can be answered together. */
export async function* lineBatches(
  stream: AsyncIterable<Uint8Array>,
  options: { maxLineBytes: number },
): AsyncGenerator<Line[], void, void> {
  const decoder = new TextDecoder();
  let parts: Uint8Array[] = [];
  let size = 0;
  let dropping = false;
  const take = (): Line => {
    const line: Line = dropping
      ? { kind: "too-long", bytes: size }
      : { kind: "line", text: decoder.decode(join(parts, size)).replace(/\r$/, "") };
    parts = [];
    size = 0;
    dropping = false;
    return line;
  };
  for await (const chunk of stream) {
    const batch: Line[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(10, start);
      const piece = chunk.subarray(start, end < 0 ? chunk.length : end);
      size += piece.length;
      if (size > options.maxLineBytes) {
        dropping = true;
        parts = [];
      } else if (piece.length > 0) parts.push(piece);
      if (end < 0) break;
      batch.push(take());
      start = end + 1;
    }
    if (batch.length > 0) yield batch;
  }
  if (size > 0) yield [take()];
}

function join(parts: Uint8Array[], size: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Bytes of the beginning that are kept of what is too large. */
const HEAD_BYTES = 256;

/** What {@linkcode readAllCapped} found; of what is too large, its first 256 bytes at most. */
export type CappedBytes =
  | { ok: true; bytes: Uint8Array }
  | { ok: false; reason: "too-large"; head: Uint8Array };

/**
 * Reads a stream to its end, or gives up (and cancels it) when it is longer than `maxBytes`. Rejects with
 * `signal.reason` when the signal aborts.
 */
export async function readAllCapped(
  stream: ReadableStream<Uint8Array> | null,
  options: { maxBytes: number; signal?: AbortSignal },
): Promise<CappedBytes> {
  if (stream === null) return { ok: true, bytes: new Uint8Array() };
  const { signal } = options;
  signal?.throwIfAborted();
  const reader = stream.getReader();
  const onAbort = () => void reader.cancel(signal!.reason).catch(() => {});
  signal?.addEventListener("abort", onAbort, { once: true });
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return { ok: true, bytes: join(parts, size) };
      size += value.length;
      if (size > options.maxBytes) {
        await reader.cancel().catch(() => {});
        return { ok: false, reason: "too-large", head: (parts[0] ?? value).slice(0, HEAD_BYTES) };
      }
      parts.push(value);
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Number of bytes of a text in UTF-8; a lone surrogate counts as the replacement character that it becomes. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    length += code < 0x800 ? 1 : 2;
    // A pair is four bytes: two for its two units, and the two that were just added.
    if (code >= 0xd800 && code < 0xdc00 && isLowSurrogate(text.charCodeAt(i + 1))) i++;
  }
  return length;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000;
}

/** Returns an amount for people, like `850 B`, `12.3 KiB`, `4 MiB`. */
export function showBytes(bytes: number): string {
  let amount = bytes;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (amount < 1024) return `${Number(amount.toFixed(1))} ${unit}`;
    amount /= 1024;
  }
  return `${Number(amount.toFixed(1))} GiB`;
}
