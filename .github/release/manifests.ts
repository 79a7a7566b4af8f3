import type { Checksums } from "./checksums.ts";
import { type Target, TARGETS } from "./targets.ts";

/** A release as its installers and manifests see it. */
export interface ReleaseFacts {
  version: string;
  /** `OWNER/NAME` of the repository. */
  repository: string;
  checksums: Checksums;
}

/** File name of a target's archive. */
export function archiveName({ name, archive }: Target, version: string): string {
  return `runner-${version}-${name}.${archive}`;
}

/** Address that the assets of a release are below. */
export function assetBase({ repository, version }: Pick<ReleaseFacts, "repository" | "version">): string {
  return `https://github.com/${repository}/releases/download/v${version}`;
}

function asset(facts: ReleaseFacts, name: string): { url: string; hash: string } {
  const target = TARGETS.find((each) => each.name === name)!;
  const file = archiveName(target, facts.version);
  const hash = facts.checksums.get(file);
  if (hash === undefined) throw new Error(`Cannot write a manifest: there is no ${file}`);
  return { url: `${assetBase(facts)}/${file}`, hash };
}

/** A Homebrew formula. */
export function homebrewFormula(facts: ReleaseFacts): string {
  const stanza = (name: string) => {
    const { url, hash } = asset(facts, name);
    return `      url "${url}"\n      sha256 "${hash}"`;
  };
  return `class Runner < Formula
  desc "Starts a coding agent, keeps it alive and puts it on a message bus"
  homepage "https://github.com/${facts.repository}"
  version "${facts.version}"
  license "MIT"

  on_macos do
    on_arm do
${stanza("macos-arm64")}
    end
    on_intel do
${stanza("macos-x64")}
    end
  end

  on_linux do
    on_arm do
${stanza("linux-arm64")}
    end
    on_intel do
${stanza("linux-x64")}
    end
  end

  def install
    bin.install "runner"
    bin.install_symlink bin/"runner" => "claude-relay"
    bin.install_symlink bin/"runner" => "codex-relay"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/runner version")
  end
end
`;
}

/** A Scoop manifest. */
export function scoopManifest(facts: ReleaseFacts): string {
  const { url, hash } = asset(facts, "windows-x64");
  const manifest = {
    version: facts.version,
    description: "Starts a coding agent, keeps it alive and puts it on a message bus",
    homepage: `https://github.com/${facts.repository}`,
    license: "MIT",
    architecture: { "64bit": { url, hash } },
    bin: ["runner.exe", ["runner.exe", "claude-relay", "claude"], ["runner.exe", "codex-relay", "codex"]],
  };
  return JSON.stringify(manifest, null, 2) + "\n";
}

/** The install script with the release's version, address and hashes written into it. */
export function installer(template: string, facts: ReleaseFacts, base = assetBase(facts)): string {
  const unix = TARGETS.filter(({ archive }) => archive === "tar.gz");
  const hashes = unix.map(({ name }) => `${name} ${asset(facts, name).hash}`).join("\n");
  const values: Record<string, string> = {
    VERSION: facts.version,
    REPOSITORY: facts.repository,
    BASE_URL: base,
    HASHES: hashes,
  };
  return template.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`Cannot fill in @${name}@ of the install script`);
    return value;
  });
}
