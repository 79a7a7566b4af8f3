/**
 * Says what is wrong with the first bytes of a journal: SQLite takes some damage there for a file that it may not
 * write. `empty` for a file without a byte, null for a good file and for none.
 */
export function headerProblem(path: string): string | null {
  const size = sizeOf(path);
  if (size === null) return null;
  if (size === 0) return (sizeOf(`${path}-wal`) ?? 0) > 0 ? "the file is empty beside its log" : "empty";
  const header = new Uint8Array(100);
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch {
    // The place, not the content: opening it for real says more.
    return null;
  }
  try {
    if ((file.readSync(header) ?? 0) < 100) return "the file is cut";
  } finally {
    file.close();
  }
  if (new TextDecoder("latin1").decode(header.subarray(0, 16)) !== "SQLite format 3\0") {
    return "not a database";
  }
  const versions = [header[18], header[19]];
  return versions.every((each) => each === 1 || each === 2) ? null : "unknown file format";
}

/** Returns the size of a file, null when there is none. */
export function sizeOf(path: string): number | null {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
