import { dirname, join } from "@std/path";
import { sha256 } from "./digest.ts";
import type { Target } from "./targets.ts";

const LIMIT_MS = 300_000;

/** Where Deno publishes its runtimes, and, on another host, their hashes. */
export const DENORT_SOURCES = {
  archives: "https://dl.deno.land/release",
  hashes: "https://github.com/denoland/deno/releases/download",
};

/**
 * Fetches the runtime for a target into Deno's cache, where `deno compile` looks for it, and returns its hash. The hash
 * is published on another host than the archive: whoever wants to slip in a runtime has to hold both.
 */
export async function fetchRuntime(
  options: { target: Target; version: string; cache: string; sources?: typeof DENORT_SOURCES },
): Promise<string> {
  const { target, version, cache, sources = DENORT_SOURCES } = options;
  const name = `denort-${target.triple}.zip`;
  const path = join(cache, "dl", "release", `v${version}`, name);
  const expected = parsePublishedHash(
    new TextDecoder().decode(await get(`${sources.hashes}/v${version}/${name}.sha256sum`)),
  );
  const bytes = await Deno.readFile(path).catch(() => null) ??
    await get(`${sources.archives}/v${version}/${name}`);
  const found = await sha256(bytes);
  if (found !== expected) {
    throw new Error(`Cannot accept ${name}: its SHA-256 is ${found}, published is ${expected}`);
  }
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeFile(path, bytes);
  return found;
}

/** Deno's files for Windows are a PowerShell listing, the others a line of `sha256sum`. */
export function parsePublishedHash(text: string): string {
  const hashes = text.match(/\b[0-9A-Fa-f]{64}\b/g) ?? [];
  if (hashes.length !== 1) throw new SyntaxError("Cannot read the published hash of the runtime");
  return hashes[0].toLowerCase();
}

async function get(url: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`Cannot fetch ${url}: status ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}
