import type { ArchiveFile } from "./archive.ts";

const BLOCK = 512;
/** Longest path that fits the name field of a header; nothing of ours is near it. */
const NAME_LIMIT = 100;

/** A tar archive in the ustar format. */
export function tarOf(files: readonly ArchiveFile[], time: Date): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  for (const file of files) {
    blocks.push(header(file, time), file.bytes);
    const rest = file.bytes.length % BLOCK;
    if (rest > 0) blocks.push(new Uint8Array(BLOCK - rest));
  }
  blocks.push(new Uint8Array(2 * BLOCK));
  return joined(blocks);
}

/** One array out of many. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function header({ path, bytes, executable }: ArchiveFile, time: Date): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const encoder = new TextEncoder();
  const name = encoder.encode(path);
  if (name.length > NAME_LIMIT) throw new RangeError(`Cannot archive "${path}": its path is too long`);
  const put = (at: number, text: string) => block.set(encoder.encode(text), at);
  const octal = (value: number, width: number) => value.toString(8).padStart(width, "0") + "\0";
  block.set(name, 0);
  put(100, octal(executable ? 0o755 : 0o644, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(bytes.length, 11));
  put(136, octal(Math.floor(time.getTime() / 1000), 11));
  put(156, "0");
  put(257, "ustar\x0000");
  // The sum of all bytes, taken while its own field holds spaces.
  put(148, " ".repeat(8));
  put(148, octal(block.reduce((sum, byte) => sum + byte, 0), 6) + " ");
  return block;
}
