import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { VERSION } from "../../lib/base/version.ts";
import { checksumsOf, formatChecksums } from "../../.github/release/checksums.ts";
import { fetchRuntime, parsePublishedHash } from "../../.github/release/denort.ts";
import { sha256 } from "../../.github/release/digest.ts";
import { archiveName, homebrewFormula, scoopManifest } from "../../.github/release/manifests.ts";
import { sbom } from "../../.github/release/sbom.ts";
import { archiveAll, compareBuilds, releaseVersion, writeAssets } from "../../.github/release/steps.ts";
import { targetOf, TARGETS } from "../../.github/release/targets.ts";
import { ghAttestation, verifyAssets } from "../../.github/release/verify.ts";
import { changelogSections, checkVersion, notesOf } from "../../.github/release/version.ts";
import { withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const REPOSITORY = "owner/runner";
const TIME = new Date("2026-02-03T04:05:06Z");
const CHANGELOG = "# Changelog\n\n## 1.2.3\n\n- new\n- more\n\n## 1.2.2\n\n- old\n";
const GOOD = { denoJson: "1.2.3", program: "1.2.3", changelog: CHANGELOG };

Deno.test("the project as it is can be released as its own version, and as no other", () => {
  assertEquals(releaseVersion(ROOT, `v${VERSION}`), VERSION);
  assertThrows(() => releaseVersion(ROOT, "v99.0.0"), Error, 'Cannot release tag "v99.0.0"');
});

Deno.test("checkVersion() refuses every disagreement between tag, deno.json, program and changelog", () => {
  assertEquals(checkVersion("v1.2.3", GOOD), "1.2.3");
  const bad: [string, Partial<typeof GOOD>, string][] = [
    ["1.2.3", {}, 'Cannot release tag "1.2.3"'],
    ["v1.2.4", {}, 'Cannot release tag "v1.2.4"'],
    ["v1.2.3", { program: "1.2.2" }, "lib/base/version.ts says 1.2.2"],
    ["v1.2.3", { changelog: CHANGELOG.replace("1.2.3", "Unreleased") }, 'is "Unreleased"'],
    ["v1.2.3", { changelog: "# Changelog\n" }, 'is "undefined"'],
    ["v1.2.3", { changelog: "## 1.2.3\n\n## 1.2.2\n\n- old\n" }, "is empty"],
    ["vx", { denoJson: "x" }, "no version like 1.2.3"],
  ];
  for (const [tag, change, says] of bad) {
    assertThrows(() => checkVersion(tag, { ...GOOD, ...change }), Error, says);
  }
});

Deno.test("notesOf() is the newest part of the changelog", () => {
  assertEquals(notesOf(CHANGELOG, "1.2.3"), "- new\n- more");
  assertEquals(changelogSections(CHANGELOG).map(({ heading }) => heading), ["1.2.3", "1.2.2"]);
});

/** Programs as `compile --target all` leaves them. */
async function fakePrograms(dir: string, text = "program"): Promise<string> {
  for (const { name, program } of TARGETS) {
    await Deno.mkdir(join(dir, `runner-${name}`), { recursive: true });
    await Deno.writeTextFile(join(dir, `runner-${name}`, program), `${text} for ${name}`);
  }
  return dir;
}

/** All assets of a release made from fake programs. */
async function fakeAssets(dir: string): Promise<string> {
  const assets = join(dir, "assets");
  await archiveAll(ROOT, await fakePrograms(join(dir, "programs")), assets, TIME);
  await writeAssets(ROOT, assets, {
    repository: REPOSITORY,
    commit: "c".repeat(40),
    time: TIME,
    denoVersion: "2.9.6",
    runtimes: Object.fromEntries(
      TARGETS.map(({ triple }) => [`denort-${triple}.zip`, "d".repeat(64)]),
    ),
  });
  return assets;
}

Deno.test("the assets of a release are five archives and what verifies and installs them", async () => {
  await withTempDir(async (dir) => {
    const assets = await fakeAssets(dir);
    const archives = TARGETS.map((target) => archiveName(target, VERSION));
    const names = [...Deno.readDirSync(assets)].map(({ name }) => name).sort();
    assertEquals(
      names,
      [...archives, "checksums.txt", "install.sh", "runner.json", "runner.rb", "sbom.spdx.json"].sort(),
    );
    assertEquals(
      Deno.readTextFileSync(join(assets, "checksums.txt")),
      formatChecksums(await checksumsOf(assets)),
    );
    const formula = Deno.readTextFileSync(join(assets, "runner.rb"));
    const manifest = JSON.parse(Deno.readTextFileSync(join(assets, "runner.json")));
    const checksums = await checksumsOf(assets);
    for (const name of archives) {
      const text = name.endsWith(".zip") ? JSON.stringify(manifest) : formula;
      assert(text.includes(checksums.get(name)!), name);
      assert(
        text.includes(`https://github.com/${REPOSITORY}/releases/download/v${VERSION}/${name}`),
        name,
      );
    }
    assertEquals(formula.match(/sha256 "[0-9a-f]{64}"/g)!.length, 4);
    assertEquals(manifest.version, VERSION);
  });
});

Deno.test("docs/install.md puts the formula into a tap, since Homebrew takes none from a path, and names what there is", () => {
  const text = Deno.readTextFileSync(join(ROOT, "docs", "install.md"));
  const installs = [...text.matchAll(/brew (?:install|upgrade) (\S+?)`?[\n ]/g)].map((match) => match[1]!);
  assert(installs.length >= 3);
  for (const formula of installs) assertMatch(formula, /^\w+\/\w+\/runner`?\.?$/);
  for (const asset of ["install.sh", "runner.rb", "runner.json", "checksums.txt", "sbom.spdx.json"]) {
    assert(text.includes(asset), asset);
  }
});

Deno.test("a manifest is not written when an archive is missing", () => {
  const facts = { version: VERSION, repository: REPOSITORY, checksums: new Map() };
  assertThrows(() => homebrewFormula(facts), Error, "there is no runner-");
  assertThrows(() => scoopManifest(facts), Error, "there is no runner-");
});

Deno.test("the bill of materials is SPDX 2.3, names all it is made of with a hash, and is the same twice", async () => {
  const input = {
    name: "@agent-relay/runner",
    version: "1.2.3",
    license: "MIT",
    repository: REPOSITORY,
    commit: "c".repeat(40),
    time: TIME,
    deno: { version: "2.9.6", runtimes: { "denort-x86_64-unknown-linux-gnu.zip": "d".repeat(64) } },
    npm: [{ name: "@scope/name", version: "1.0.0" }],
    integrity: { "@scope/name@1.0.0": `sha512-${btoa("\x01\xff")}` },
  };
  const text = await sbom(input);
  assertEquals(text, await sbom(input));
  const document = JSON.parse(text);
  assertEquals([document.spdxVersion, document.dataLicense, document.creationInfo.created], [
    "SPDX-2.3",
    "CC0-1.0",
    "2026-02-03T04:05:06Z",
  ]);
  const ids = document.packages.map((each: { SPDXID: string }) => each.SPDXID);
  assertEquals(new Set(ids).size, 3);
  for (const id of ids) assertMatch(id, /^SPDXRef-[A-Za-z0-9.-]+$/);
  assertEquals(document.packages[2].checksums, [{ algorithm: "SHA512", checksumValue: "01ff" }]);
  assertEquals(
    document.packages[2].externalRefs[0].referenceLocator,
    "pkg:npm/%40scope/name@1.0.0",
  );
  assertEquals(
    document.relationships.map((each: { relatedSpdxElement: string }) => each.relatedSpdxElement),
    ids,
  );
  await assertRejects(() => sbom({ ...input, integrity: {} }), Error, "deno.lock has no sha512");
});

Deno.test("verifyAssets() accepts what was released and notices every change to it", async () => {
  await withTempDir(async (dir) => {
    const assets = await fakeAssets(dir);
    const vouched = new Set((await checksumsOf(assets)).values());
    const attestation = async (path: string) => ({
      ok: vouched.has(await sha256(await Deno.readFile(path))),
      said: "unknown digest",
    });
    const report = await verifyAssets(assets, VERSION, attestation);
    assertEquals(report, { checked: 9, attested: 5, refused: 5 });

    // A check that cannot fail is noticed.
    const blind = () => Promise.resolve({ ok: true, said: "" });
    await assertRejects(() => verifyAssets(assets, VERSION, blind), Error, "Cannot trust the attestation");
    const nobody = () => Promise.resolve({ ok: false, said: "no attestation" });
    await assertRejects(() => verifyAssets(assets, VERSION, nobody), Error, "no attestation");

    const archive = join(assets, archiveName(TARGETS[0]!, VERSION));
    const bytes = await Deno.readFile(archive);
    const changed = bytes.slice();
    changed[100]! ^= 1;
    await Deno.writeFile(archive, changed);
    await assertRejects(
      () => verifyAssets(assets, VERSION, attestation),
      Error,
      "its hash is not the listed",
    );
    await Deno.remove(archive);
    await assertRejects(() => verifyAssets(assets, VERSION, attestation), Error, "was not downloaded");
    await Deno.writeFile(archive, bytes);
    await Deno.writeTextFile(join(assets, "extra"), "x");
    await assertRejects(
      () => verifyAssets(assets, VERSION, attestation),
      Error,
      "extra: not in checksums.txt",
    );
  });
});

Deno.test({
  name: "ghAttestation() asks for this repository and this workflow, and takes the exit code as the answer",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await withTempDir(async (dir) => {
      const gh = join(dir, "gh");
      await Deno.writeTextFile(
        gh,
        `#!/bin/sh\necho "$@" > "${dir}/asked"\n[ -e "${dir}/good" ] || { echo no match >&2; exit 1; }\n`,
        { mode: 0o755 },
      );
      const attestation = ghAttestation(REPOSITORY, "owner/runner/.github/workflows/build.yml", gh);
      assertEquals(await attestation("/x/file"), { ok: false, said: "no match" });
      await Deno.writeTextFile(join(dir, "good"), "");
      assertEquals(await attestation("/x/file"), { ok: true, said: "" });
      assertEquals(
        Deno.readTextFileSync(join(dir, "asked")),
        "attestation verify /x/file --repo owner/runner --signer-workflow owner/runner/.github/workflows/build.yml\n",
      );
    });
  },
});

Deno.test("compareBuilds() names the programs that differ", async () => {
  await withTempDir(async (dir) => {
    const [a, b] = [await fakePrograms(join(dir, "a")), await fakePrograms(join(dir, "b"))];
    assertEquals(await compareBuilds(a, b), 5);
    await Deno.writeTextFile(join(b, "runner-macos-x64", "runner"), "other");
    await assertRejects(() => compareBuilds(a, b), Error, "Cannot reproduce the build for macos-x64");
  });
});

Deno.test("fetchRuntime() keeps a runtime whose hash is the published one, and refuses another", async () => {
  const target = targetOf("linux-x64");
  const archive = new TextEncoder().encode("a runtime");
  let hash = await sha256(archive);
  let asked = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/hashes/v9.9.9/denort-x86_64-unknown-linux-gnu.zip.sha256sum") {
      return new Response(`${hash}  denort-x86_64-unknown-linux-gnu.zip\n`);
    }
    if (pathname !== "/archives/v9.9.9/denort-x86_64-unknown-linux-gnu.zip") {
      return new Response(null, { status: 404 });
    }
    asked++;
    return new Response(archive);
  });
  try {
    const base = `http://127.0.0.1:${server.addr.port}`;
    const sources = { archives: `${base}/archives`, hashes: `${base}/hashes` };
    await withTempDir(async (cache) => {
      const options = { target, version: "9.9.9", cache, sources };
      const path = join(cache, "dl/release/v9.9.9/denort-x86_64-unknown-linux-gnu.zip");
      assertEquals(await fetchRuntime(options), hash);
      assertEquals(await Deno.readFile(path), archive);
      // What is in the cache is checked again, not trusted and not fetched.
      await fetchRuntime(options);
      assertEquals(asked, 1);
      await Deno.writeTextFile(path, "another runtime");
      await assertRejects(() => fetchRuntime(options), Error, "Cannot accept denort-");
      hash = "0".repeat(64);
      await Deno.remove(path);
      await assertRejects(() => fetchRuntime(options), Error, `published is ${hash}`);
      assertEquals(await Deno.stat(path).catch(() => null), null);
      await assertRejects(() => fetchRuntime({ ...options, version: "1.0.0" }), Error, "status 404");
    });
  } finally {
    await server.shutdown();
  }
});

Deno.test("parsePublishedHash() reads both forms of Deno's hash files", () => {
  const hash = "0123456789abcdef".repeat(4);
  assertEquals(parsePublishedHash(`${hash}  denort.zip\n`), hash);
  const listing =
    `\r\nAlgorithm : SHA256\r\nHash      : ${hash.toUpperCase()}\r\nPath      : D:\\a\\denort.zip\r\n`;
  assertEquals(parsePublishedHash(listing), hash);
  assertThrows(() => parsePublishedHash("<html>not found</html>"), SyntaxError);
});
