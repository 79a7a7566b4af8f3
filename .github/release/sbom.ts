import { sha256 } from "./digest.ts";
import type { NpmPackage } from "./staging.ts";

/** What goes into the bill of materials. */
export interface SbomInput {
  name: string;
  version: string;
  license: string;
  /** `OWNER/NAME` of the repository. */
  repository: string;
  commit: string;
  time: Date;
  deno: {
    version: string; /** SHA-256 of each runtime's archive by file name. */
    runtimes: Record<string, string>;
  };
  npm: readonly NpmPackage[];
  /** Integrity (`sha512-...`) from the lock file by `name@version`. */
  integrity: Readonly<Record<string, string>>;
}

/** An SPDX 2.3 document of what a release is made of. The same input gives the same text. */
export async function sbom(input: SbomInput): Promise<string> {
  const { name, version, license, repository, commit, time, deno, npm } = input;
  const program = {
    SPDXID: "SPDXRef-runner",
    name,
    versionInfo: version,
    downloadLocation: `git+https://github.com/${repository}@${commit}`,
    filesAnalyzed: false,
    licenseConcluded: license,
    licenseDeclared: license,
    copyrightText: "NOASSERTION",
    primaryPackagePurpose: "APPLICATION",
  };
  const runtimes = Object.entries(deno.runtimes).sort().map(([file, hash]) => ({
    SPDXID: `SPDXRef-${idOf(file)}`,
    name: file.replace(/\.zip$/, ""),
    versionInfo: deno.version,
    packageFileName: file,
    downloadLocation: `https://dl.deno.land/release/v${deno.version}/${file}`,
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "MIT",
    copyrightText: "NOASSERTION",
    checksums: [{ algorithm: "SHA256", checksumValue: hash }],
  }));
  const packages = npm.map((each) => ({
    SPDXID: `SPDXRef-npm-${idOf(`${each.name}-${each.version}`)}`,
    name: each.name,
    versionInfo: each.version,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "NOASSERTION",
    copyrightText: "NOASSERTION",
    checksums: [{ algorithm: "SHA512", checksumValue: sha512Of(each, input.integrity) }],
    externalRefs: [{
      referenceCategory: "PACKAGE-MANAGER",
      referenceType: "purl",
      referenceLocator: `pkg:npm/${each.name.replace("@", "%40")}@${each.version}`,
    }],
  }));
  const relationships = [
    relation("SPDXRef-DOCUMENT", "DESCRIBES", program.SPDXID),
    ...[...runtimes, ...packages].map(({ SPDXID }) => relation(program.SPDXID, "DEPENDS_ON", SPDXID)),
  ];
  const content = { packages: [program, ...runtimes, ...packages], relationships };
  const digest = await sha256(new TextEncoder().encode(JSON.stringify(content)));
  const document = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `runner-${version}`,
    documentNamespace:
      `https://github.com/${repository}/releases/download/v${version}/sbom.spdx.json#${digest}`,
    creationInfo: { created: time.toISOString().replace(/\.\d+Z$/, "Z"), creators: ["Tool: runner-release"] },
    ...content,
  };
  return JSON.stringify(document, null, 2) + "\n";
}

function relation(from: string, relationshipType: string, to: string) {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to };
}

/** SPDX ids have letters, digits, dots and dashes. */
function idOf(text: string): string {
  return text.replace(/[^A-Za-z0-9.-]+/g, "-").replace(/^-+/, "");
}

function sha512Of({ name, version }: NpmPackage, integrity: Readonly<Record<string, string>>): string {
  const match = /^sha512-(.+)$/.exec(integrity[`${name}@${version}`] ?? "");
  if (match === null) throw new Error(`Cannot list ${name}@${version}: deno.lock has no sha512 of it`);
  return [...atob(match[1]!)].map((char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}
