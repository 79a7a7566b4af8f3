import { Buffer } from "node:buffer";

/** What `deno compile` has put into an executable. */
export interface Payload {
  /** The metadata as Deno wrote it: permissions, entry point, import map. */
  metadata: {
    permissions: Record<string, unknown>;
    entrypoint_key: string;
    code_cache_key: unknown;
    [key: string]: unknown;
  };
  /** Path of every embedded file. */
  files: string[];
}

const MAGIC = "d3n0l4nd";
const U64 = 8;

/**
 * Reads the payload of a compiled program of any system: Deno 2.7.14 appends it (ELF), 2.9.6 keeps it in a note, a
 * resource or a section. A file without a payload, which a failed link leaves behind with exit code 0, throws.
 */
export function readPayload(program: Uint8Array): Payload {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const start = bytes.lastIndexOf('{"argv"');
  const magicAt = start - U64 - MAGIC.length;
  if (start < 0 || bytes.subarray(magicAt, magicAt + MAGIC.length).toString("latin1") !== MAGIC) {
    throw new SyntaxError("Cannot find an embedded program: this is no output of deno compile");
  }
  const lengthAt = (at: number) => Number(bytes.readBigUInt64LE(at));
  const metadataEnd = start + lengthAt(start - U64);
  const metadata = JSON.parse(bytes.subarray(start, metadataEnd).toString()) as Payload["metadata"];
  const afterNpm = metadataEnd + U64 + lengthAt(metadataEnd);
  const tree = bytes.indexOf('[{"', afterNpm);
  if (tree < 0) throw new SyntaxError("Cannot find the embedded files");
  const json = bytes.subarray(tree, tree + lengthAt(tree - U64)).toString();
  return { metadata, files: [...pathsOf(JSON.parse(json) as Entry[], "")].sort() };
}

/** An entry of the embedded file tree: a directory has entries, a file or a link has a place. */
type Entry = Record<string, { n: string; e?: Entry[] }>;

function* pathsOf(entries: Entry[], prefix: string): Generator<string> {
  for (const entry of entries) {
    const [kind, { n, e }] = Object.entries(entry)[0]!;
    if (kind === "Dir") yield* pathsOf(e ?? [], `${prefix}${n}/`);
    else yield prefix + n;
  }
}
