import { join } from "@std/path";
import { sha256 } from "./digest.ts";

/** Name of the file that lists the hashes of all other assets. */
export const CHECKSUMS = "checksums.txt";

/** Hash of each file by name. */
export type Checksums = ReadonlyMap<string, string>;

/** Hashes every file of a directory except the list itself. */
export async function checksumsOf(dir: string): Promise<Checksums> {
  const names = [...Deno.readDirSync(dir)].filter(({ isFile, name }) => isFile && name !== CHECKSUMS);
  const sorted = names.map(({ name }) => name).sort();
  const entries: [string, string][] = [];
  for (const name of sorted) entries.push([name, await sha256(await Deno.readFile(join(dir, name)))]);
  return new Map(entries);
}

/** The list in the form that `sha256sum --check` reads. */
export function formatChecksums(checksums: Checksums): string {
  return [...checksums].map(([name, hash]) => `${hash}  ${name}\n`).join("");
}

/** Reads such a list; throws on any other line and on a name that is a path or stands there twice. */
export function parseChecksums(text: string): Checksums {
  const checksums = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const match = /^([0-9a-f]{64}) {2}([^/\\\s]+)$/.exec(line);
    if (match === null) throw new SyntaxError(`Cannot read line "${line}" of ${CHECKSUMS}`);
    const [, hash, name] = match as unknown as [string, string, string];
    if (checksums.has(name)) throw new SyntaxError(`Cannot read ${CHECKSUMS}: ${name} stands there twice`);
    checksums.set(name, hash);
  }
  return checksums;
}
