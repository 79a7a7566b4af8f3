import { join } from "@std/path";
import { CHECKSUMS, checksumsOf, parseChecksums } from "./checksums.ts";
import { archiveName } from "./manifests.ts";
import { TARGETS } from "./targets.ts";

/** Says whether somebody vouches for a file: `gh attestation verify` in the release, something else in a test. */
export type Attestation = (path: string) => Promise<{ ok: boolean; said: string }>;

/** What was checked of downloaded assets. */
export interface VerifyReport {
  /** Files whose hash is the listed one. */
  checked: number;
  /** Archives that somebody vouches for. */
  attested: number;
  /** Copies with one changed byte that were refused, by hash and by attestation. */
  refused: number;
}

/**
 * Checks downloaded assets as a user would: each hash, nothing more and nothing less than listed, the attestation of every
 * archive, and that a copy with one flipped bit is refused both ways, since a check that cannot fail proves nothing.
 */
export async function verifyAssets(
  dir: string,
  version: string,
  attestation: Attestation,
): Promise<VerifyReport> {
  const listed = parseChecksums(await Deno.readTextFile(join(dir, CHECKSUMS)));
  const found = await checksumsOf(dir);
  for (const [name, hash] of listed) {
    if (!found.has(name)) throw new Error(`Cannot verify ${name}: it was not downloaded`);
    if (found.get(name) !== hash) throw new Error(`Cannot verify ${name}: its hash is not the listed one`);
  }
  const unlisted = [...found.keys()].filter((name) => !listed.has(name));
  if (unlisted.length > 0) throw new Error(`Cannot verify ${unlisted.join(", ")}: not in ${CHECKSUMS}`);
  const report: VerifyReport = { checked: listed.size, attested: 0, refused: 0 };
  for (const target of TARGETS) {
    const name = archiveName(target, version);
    if (!listed.has(name)) throw new Error(`Cannot verify the release: there is no ${name}`);
    const { ok, said } = await attestation(join(dir, name));
    if (!ok) throw new Error(`Cannot verify ${name}: ${said}`);
    report.attested++;
    await refuseTampered(dir, name, listed.get(name)!, attestation);
    report.refused++;
  }
  return report;
}

async function refuseTampered(
  dir: string,
  name: string,
  hash: string,
  attestation: Attestation,
): Promise<void> {
  const tampered = await Deno.makeTempDir({ prefix: "tampered-" });
  try {
    const bytes = await Deno.readFile(join(dir, name));
    bytes[bytes.length >> 1]! ^= 1;
    await Deno.writeFile(join(tampered, name), bytes);
    if ((await checksumsOf(tampered)).get(name) === hash) {
      throw new Error(`Cannot trust the hash of ${name}: a changed copy has it too`);
    }
    if ((await attestation(join(tampered, name))).ok) {
      throw new Error(`Cannot trust the attestation of ${name}: a changed copy has it too`);
    }
  } finally {
    await Deno.remove(tampered, { recursive: true });
  }
}

/** Asks GitHub's client, which checks that this workflow of this repository built exactly these bytes. */
export function ghAttestation(repository: string, workflow: string, gh = "gh"): Attestation {
  return async (path) => {
    const { code, stderr } = await new Deno.Command(gh, {
      args: ["attestation", "verify", path, "--repo", repository, "--signer-workflow", workflow],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    return { ok: code === 0, said: new TextDecoder().decode(stderr).trim() };
  };
}
