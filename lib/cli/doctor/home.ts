import { join } from "@std/path";
import { messageOf, shown } from "../../base/errors.ts";
import { ask } from "../../process/ask.ts";
import type { Check, Finding } from "./contract.ts";

const DF_MS = 3_000;
const MIB = 1024;
/** Free space in KiB below which a warning is due, and below which nothing can be kept. */
const LITTLE_KIB = 500 * MIB;
const NONE_KIB = 50 * MIB;
const OTHERS = 0o077;

/** The home directory: private, writable, with room. */
export const checkHome: Check = async ({ paths, clock }) => {
  const { home } = paths;
  const name = shown(home, 200);
  let mode: number;
  try {
    mode = Deno.statSync(home).mode ?? 0;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      return [{ check: "home", health: "fail", text: `${name} cannot be read: ${shown(messageOf(error))}` }];
    }
    return [{ check: "home", health: "ok", text: `${name} is made at the first start` }];
  }
  const findings: Finding[] = [];
  if (isOpen(mode)) {
    findings.push({
      check: "home",
      health: "warn",
      text: `others can look into ${name}`,
      hint: `chmod 700 ${name}`,
      fix: { does: "makes it private", apply: () => Deno.chmodSync(home, 0o700) },
    });
  }
  try {
    Deno.removeSync(Deno.makeTempFileSync({ dir: home, prefix: ".doctor" }));
  } catch (error) {
    findings.push({
      check: "home",
      health: "fail",
      text: `nothing can be written to ${name}: ${shown(messageOf(error), 200)}`,
      hint: "make room there, or make it writable",
    });
  }
  const freeKib = await freeSpace(home, clock);
  if (freeKib !== null && freeKib < LITTLE_KIB) {
    findings.push({
      check: "home",
      health: freeKib < NONE_KIB ? "fail" : "warn",
      text: `only ${Math.floor(freeKib / MIB)} MiB are free for ${name}`,
      hint: "a runner whose disk is full takes no new work",
    });
  }
  if (findings.length > 0) return findings;
  const free = freeKib === null ? "" : `, ${Math.floor(freeKib / MIB)} MiB free`;
  return [{ check: "home", health: "ok", text: `${name} is private and writable${free}` }];
};

/** Files that hold secrets, or that decide what is started: nobody else may read or change them. */
export const checkFiles: Check = ({ paths }) => {
  const { configFile, providersDir, relayTokenFile, relayDb } = paths;
  const files = [configFile, relayTokenFile, relayDb, ...jsonFiles(providersDir)];
  const open = files.filter((path) => {
    try {
      return isOpen(Deno.statSync(path).mode ?? 0);
    } catch {
      return false;
    }
  });
  if (open.length === 0) {
    return Promise.resolve([{ check: "files", health: "ok", text: "configuration and token are private" }]);
  }
  return Promise.resolve(open.map((path) => ({
    check: "files",
    health: "fail",
    text: `others can read or change ${shown(path, 200)}`,
    hint: `chmod 600 ${shown(path, 200)}`,
    fix: { does: "makes it private", apply: () => Deno.chmodSync(path, 0o600) },
  })));
};

function jsonFiles(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].filter(({ name }) => name.endsWith(".json")).map(({ name }) =>
      join(dir, name)
    );
  } catch {
    return [];
  }
}

/** Windows has no such modes; there, the profile's own rules hold. */
function isOpen(mode: number): boolean {
  return Deno.build.os !== "windows" && (mode & OTHERS) !== 0;
}

/** KiB that are free for a directory; null where `df` does not say. */
async function freeSpace(dir: string, clock: Parameters<typeof ask>[2]["clock"]): Promise<number | null> {
  if (Deno.build.os === "windows") return null;
  const answer = await ask("df", ["-Pk", dir], { clock, timeoutMs: DF_MS });
  if (answer.state !== "ended" || answer.code !== 0) return null;
  // POSIX: name, size, used, available, capacity, mount point; the name may have blanks, the figures stand together.
  const figures = /\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s/.exec(answer.out.split("\n")[1] ?? "");
  return figures === null ? null : Number(figures[3]);
}
