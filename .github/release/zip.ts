import { crc32 } from "node:zlib";
import { type ArchiveFile, compressed } from "./archive.ts";
import { joined } from "./tar.ts";

/** Unix in the high byte, so that the permission bits below count; version 2.0 of the format. */
const MADE_BY = (3 << 8) | 20;
const NEEDS = 20;
const UTF8_NAMES = 0x0800;
const DEFLATE = 8;
const REGULAR_FILE = 0o100000;

/** A zip archive, deflated. Below 4 GiB, which a program of 100 MB is. */
export async function zipOf(files: readonly ArchiveFile[], time: Date): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const { path, bytes, executable } of files) {
    const name = new TextEncoder().encode(path);
    const body = await compressed(bytes, "deflate-raw");
    const common = [
      u16(NEEDS),
      u16(UTF8_NAMES),
      u16(DEFLATE),
      ...dosTime(time),
      u32(crc32(bytes)),
      u32(body.length),
      u32(bytes.length),
      u16(name.length),
      u16(0),
    ];
    const local = joined([u32(0x04034b50), ...common, name]);
    const mode = REGULAR_FILE | (executable ? 0o755 : 0o644);
    directory.push(joined([
      u32(0x02014b50),
      u16(MADE_BY),
      ...common,
      u16(0), // comment
      u16(0), // disk
      u16(0), // internal attributes
      u32(mode * 0x10000),
      u32(offset),
      name,
    ]));
    parts.push(local, body);
    offset += local.length + body.length;
  }
  const central = joined(directory);
  const end = joined([
    u32(0x06054b50),
    u16(0),
    u16(0),
    u16(files.length),
    u16(files.length),
    u32(central.length),
    u32(offset),
    u16(0),
  ]);
  return joined([...parts, central, end]);
}

function u16(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, true);
  return bytes;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  return bytes;
}

/** Time and date as DOS had them: two-second steps from 1980 on, here in UTC. */
function dosTime(time: Date): [Uint8Array, Uint8Array] {
  const year = Math.max(1980, time.getUTCFullYear());
  const clock = (time.getUTCHours() << 11) | (time.getUTCMinutes() << 5) | (time.getUTCSeconds() >> 1);
  const day = ((year - 1980) << 9) | ((time.getUTCMonth() + 1) << 5) | time.getUTCDate();
  return [u16(clock), u16(day)];
}
