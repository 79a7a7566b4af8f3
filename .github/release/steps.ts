/**
 * The steps of a release as functions of files: each reads from and writes to directories that it is given. The
 * workflow only says in which order and on which machine.
 */
import { join } from "@std/path";
import { VERSION } from "../../lib/base/version.ts";
import { archive } from "./archive.ts";
import { CHECKSUMS, checksumsOf, formatChecksums } from "./checksums.ts";
import { archiveName, homebrewFormula, installer, type ReleaseFacts, scoopManifest } from "./manifests.ts";
import { sbom } from "./sbom.ts";
import { runtimeGraph } from "./staging.ts";
import { TARGETS } from "./targets.ts";
import { checkVersion, notesOf, projectVersion } from "./version.ts";

const read = (root: string, name: string) => Deno.readTextFileSync(join(root, name));

/** Checks that a tag is the version that the project says it is; returns it. */
export function releaseVersion(root: string, tag: string): string {
  return checkVersion(tag, {
    denoJson: projectVersion(root),
    program: VERSION,
    changelog: read(root, "CHANGELOG.md"),
  });
}

/** Packs each compiled program below `programs` with README and licence into `out`; returns the archives' names. */
export async function archiveAll(
  root: string,
  programs: string,
  out: string,
  time: Date,
): Promise<string[]> {
  const version = projectVersion(root);
  await Deno.mkdir(out, { recursive: true });
  const names: string[] = [];
  for (const target of TARGETS) {
    const files = [
      {
        path: target.program,
        bytes: await Deno.readFile(join(programs, `runner-${target.name}`, target.program)),
        executable: true,
      },
      ...["README.md", "LICENSE", "CHANGELOG.md"].map((path) => ({
        path,
        bytes: Deno.readFileSync(join(root, path)),
        executable: false,
      })),
    ];
    const name = archiveName(target, version);
    await Deno.writeFile(join(out, name), await archive(target.archive, files, time));
    names.push(name);
  }
  return names;
}

/** What {@linkcode writeAssets} needs to know beside the files. */
export interface AssetOptions {
  repository: string;
  commit: string;
  time: Date;
  /** SHA-256 of each runtime's archive, by file name. */
  runtimes: Record<string, string>;
  denoVersion: string;
}

/** Writes what goes beside the archives: bill of materials, install script, formula, manifest, and the hashes of all. */
export async function writeAssets(root: string, dir: string, options: AssetOptions): Promise<void> {
  const { repository, commit, time, runtimes, denoVersion } = options;
  const config = JSON.parse(read(root, "deno.json")) as { name: string; version: string; license: string };
  const lock = JSON.parse(read(root, "deno.lock")) as { npm?: Record<string, { integrity: string }> };
  const graph = await runtimeGraph(root);
  const write = (name: string, text: string, mode = 0o644) =>
    Deno.writeTextFile(join(dir, name), text, { mode });
  await write(
    "sbom.spdx.json",
    await sbom({
      name: config.name,
      version: config.version,
      license: config.license,
      repository,
      commit,
      time,
      deno: { version: denoVersion, runtimes },
      npm: graph.npm,
      integrity: Object.fromEntries(
        Object.entries(lock.npm ?? {}).map(([key, { integrity }]) => [key, integrity]),
      ),
    }),
  );
  const facts: ReleaseFacts = { version: config.version, repository, checksums: await checksumsOf(dir) };
  await write("install.sh", installer(read(root, ".github/install.sh"), facts), 0o755);
  await write("runner.rb", homebrewFormula(facts));
  await write("runner.json", scoopManifest(facts));
  await write(CHECKSUMS, formatChecksums(await checksumsOf(dir)));
}

/** Text of the release: what the changelog says, and how to verify what one downloads. */
export function releaseNotes(root: string, repository: string, workflow: string): string {
  const version = projectVersion(root);
  return `${notesOf(read(root, "CHANGELOG.md"), version)}

## Verify

\`\`\`sh
sha256sum --check --ignore-missing ${CHECKSUMS}
gh attestation verify runner-${version}-linux-x64.tar.gz --repo ${repository} --signer-workflow ${workflow}
\`\`\`
`;
}

/** Compares the programs of two builds; throws with the names of those that differ. */
export async function compareBuilds(first: string, second: string): Promise<number> {
  const different: string[] = [];
  for (const target of TARGETS) {
    const [a, b] = await Promise.all(
      [first, second].map(async (dir) => await checksumsOf(join(dir, `runner-${target.name}`))),
    );
    if (a!.size !== 1 || a!.get(target.program) !== b!.get(target.program)) different.push(target.name);
  }
  if (different.length > 0) throw new Error(`Cannot reproduce the build for ${different.join(", ")}`);
  return TARGETS.length;
}
