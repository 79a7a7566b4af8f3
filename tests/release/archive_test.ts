import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { crc32 } from "node:zlib";
import { archive } from "../../.github/release/archive.ts";
import { checksumsOf, formatChecksums, parseChecksums } from "../../.github/release/checksums.ts";
import { unpack } from "../../.github/release/smoke.ts";
import { tarOf } from "../../.github/release/tar.ts";
import { withTempDir } from "../support/temp.ts";

const TIME = new Date("2026-02-03T04:05:06Z");
const encode = (text: string) => new TextEncoder().encode(text);
const FILES = [
  {
    path: "runner",
    bytes: crypto.getRandomValues(new Uint8Array(60_000)),
    executable: true,
  },
  { path: "README.md", bytes: encode("# runner\n".repeat(500)), executable: false },
  { path: "docs/empty", bytes: new Uint8Array(0), executable: false },
  { path: "exact", bytes: new Uint8Array(1024).fill(7), executable: false },
];

Deno.test({
  name: "a tar.gz is read by the system's tar, with modes and time",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await withTempDir(async (dir) => {
      const path = join(dir, "x.tar.gz");
      await Deno.writeFile(path, await archive("tar.gz", FILES, TIME));
      await unpack(path, dir);
      for (const { path: name, bytes, executable } of FILES) {
        assertEquals(await Deno.readFile(join(dir, name)), bytes);
        const { mode, mtime } = await Deno.stat(join(dir, name));
        assertEquals(mode! & 0o111, executable ? 0o111 : 0);
        assertEquals(mtime, TIME);
      }
    });
  },
});

/** Reads a zip by its directory at the end, as every program does. */
async function unzip(bytes: Uint8Array<ArrayBuffer>) {
  const view = new DataView(bytes.buffer);
  const end = bytes.length - 22;
  assertEquals(view.getUint32(end, true), 0x06054b50);
  let at = view.getUint32(end + 16, true);
  const files: { path: string; bytes: Uint8Array; mode: number; dosTime: number }[] = [];
  for (let i = 0; i < view.getUint16(end + 10, true); i++) {
    assertEquals(view.getUint32(at, true), 0x02014b50);
    const [crc, packed, size] = [16, 20, 24].map((offset) => view.getUint32(at + offset, true));
    const nameLength = view.getUint16(at + 28, true);
    const local = view.getUint32(at + 42, true);
    assertEquals(view.getUint32(local, true), 0x04034b50);
    // What the file's own header says must be what the directory says.
    assertEquals(
      bytes.slice(local + 4, local + 30 + nameLength),
      new Uint8Array([
        ...bytes.slice(at + 6, at + 32),
        ...bytes.slice(at + 46, at + 46 + nameLength),
      ]),
    );
    const start = local + 30 + nameLength;
    const stream = new Blob([bytes.slice(start, start + packed!)]).stream()
      .pipeThrough(new DecompressionStream("deflate-raw"));
    const content = new Uint8Array(await new Response(stream).arrayBuffer());
    assertEquals([content.length, crc32(content)], [size, crc]);
    files.push({
      path: new TextDecoder().decode(bytes.slice(at + 46, at + 46 + nameLength)),
      bytes: content,
      mode: view.getUint32(at + 38, true) >>> 16,
      dosTime: view.getUint32(at + 12, true),
    });
    at += 46 + nameLength;
  }
  assertEquals(at, end);
  return files;
}

Deno.test("a zip has every file with its mode, checksum and time", async () => {
  const files = await unzip(await archive("zip", FILES, TIME));
  assertEquals(
    files.map(({ path, bytes, mode }) => ({ path, bytes, mode })),
    FILES.map(({ path, bytes, executable }) => ({
      path,
      bytes,
      mode: 0o100000 | (executable ? 0o755 : 0o644),
    })),
  );
  const [day, clock] = [files[0]!.dosTime >>> 16, files[0]!.dosTime & 0xffff];
  assertEquals([1980 + (day >> 9), (day >> 5) & 15, day & 31], [2026, 2, 3]);
  assertEquals([clock >> 11, (clock >> 5) & 63, (clock & 31) * 2], [4, 5, 6]);
});

Deno.test("the same files give the same archive", async () => {
  for (const kind of ["zip", "tar.gz"] as const) {
    assertEquals(await archive(kind, FILES, TIME), await archive(kind, FILES, TIME));
  }
});

Deno.test("tarOf() throws when a path does not fit", () => {
  const file = { path: "x".repeat(101), bytes: new Uint8Array(), executable: false };
  assertThrows(() => tarOf([file], TIME), RangeError, "its path is too long");
});

Deno.test("checksums are those of sha256sum, sorted, and read back", async () => {
  await withTempDir(async (dir) => {
    for (const name of ["b", "a"]) Deno.writeTextFileSync(join(dir, name), name);
    Deno.writeTextFileSync(join(dir, "checksums.txt"), "not itself");
    const checksums = await checksumsOf(dir);
    const text = formatChecksums(checksums);
    assertEquals(
      text,
      "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n" +
        "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d  b\n",
    );
    assertEquals(parseChecksums(text), checksums);
  });
});

Deno.test("parseChecksums() refuses paths, doubles and foreign lines", () => {
  const hash = "0".repeat(64);
  for (
    const text of [
      `${hash}  ../a\n`,
      `${hash}  a\n${hash}  a\n`,
      `${hash} a\n`,
      "x",
      `${hash}  a\\b\n`,
      `${hash}  \n`,
    ]
  ) {
    assertThrows(() => parseChecksums(text), SyntaxError);
  }
});
