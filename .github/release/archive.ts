import { tarOf } from "./tar.ts";
import { zipOf } from "./zip.ts";

/** A file of an archive. */
export interface ArchiveFile {
  /** Path inside the archive, with slashes. */
  path: string;
  bytes: Uint8Array<ArrayBuffer>;
  executable: boolean;
}

/**
 * Packs files into a tar.gz or a zip. The same input gives the same bytes: one time for all, no owner, no order but the
 * given one.
 */
export async function archive(
  kind: "tar.gz" | "zip",
  files: readonly ArchiveFile[],
  time: Date,
): Promise<Uint8Array<ArrayBuffer>> {
  return kind === "zip" ? await zipOf(files, time) : await compressed(tarOf(files, time), "gzip");
}

/** Bytes in the given compression of the platform. */
export async function compressed(
  bytes: Uint8Array<ArrayBuffer>,
  format: "gzip" | "deflate-raw",
): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
