import { join } from "@std/path";

/** One version's part of the changelog. */
export interface ChangelogSection {
  heading: string;
  body: string;
}

/** Splits a changelog at its second-level headings, newest first. */
export function changelogSections(changelog: string): ChangelogSection[] {
  return changelog.split(/^## /m).slice(1).map((part) => {
    const end = part.indexOf("\n");
    return { heading: part.slice(0, end).trim(), body: part.slice(end + 1).trim() };
  });
}

/** Returns the notes of a version, or throws when the changelog's newest entry is another one or says nothing. */
export function notesOf(changelog: string, version: string): string {
  const [newest] = changelogSections(changelog);
  if (newest?.heading !== version) {
    throw new Error(`Cannot release ${version}: the newest heading of CHANGELOG.md is "${newest?.heading}"`);
  }
  if (newest.body === "") throw new Error(`Cannot release ${version}: its part of CHANGELOG.md is empty`);
  return newest.body;
}

/** Throws unless the tag, deno.json, the program and the changelog agree; returns the version. */
export function checkVersion(
  tag: string,
  found: { denoJson: string; program: string; changelog: string },
): string {
  const { denoJson, program, changelog } = found;
  if (!/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?$/.test(denoJson)) {
    throw new Error(`Cannot release "${denoJson}": deno.json has no version like 1.2.3`);
  }
  if (tag !== `v${denoJson}`) {
    throw new Error(`Cannot release tag "${tag}": deno.json says ${denoJson}, whose tag is v${denoJson}`);
  }
  if (program !== denoJson) {
    throw new Error(`Cannot release ${denoJson}: lib/base/version.ts says ${program}`);
  }
  notesOf(changelog, denoJson);
  return denoJson;
}

/** Version in the project's deno.json. */
export function projectVersion(root: string): string {
  return (JSON.parse(Deno.readTextFileSync(join(root, "deno.json"))) as { version: string }).version;
}
