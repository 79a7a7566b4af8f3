import { dirname, join } from "@std/path";
import { messageOf } from "../../base/errors.ts";
import { isThere, syncDir } from "../../base/private_file.ts";
import { randomHex } from "../../base/secret.ts";
import type { Failure, Removed } from "./contract.ts";
import { asideName } from "./names.ts";

/** What to remove, and what is known of it. */
export interface Waste extends Omit<Removed, "bytes"> {
  /** What was seen there when it was decided that it goes; left out where nobody else can have changed it. */
  seen?: Deno.FileInfo;
  /** Directory of the same file system to move it to first. */
  asideDir: string;
  /** Asked once it is out of everybody's way: false puts it back. */
  still?: () => boolean;
}

/**
 * Removes things so that nobody ever finds half of one: each is moved aside under a name that nothing uses, looked at
 * again there, and deleted then. What a crash leaves is found by its name. In a dry run it only counts.
 */
export class Bin {
  readonly removed: Removed[] = [];
  readonly failed: Failure[] = [];
  readonly #dryRun: boolean;

  constructor({ dryRun }: { dryRun: boolean }) {
    this.#dryRun = dryRun;
  }

  /** Removes it, unless it is not any more what it was. What does not work is noted, and never thrown. */
  remove({ kind, path, agentId, seen, asideDir, still = () => true }: Waste): void {
    let at = path;
    try {
      const bytes = bytesOf(path);
      if (!this.#dryRun) {
        const aside = join(asideDir, asideName(randomHex(6)));
        Deno.renameSync(path, aside);
        at = aside;
        const found = Deno.lstatSync(aside);
        let meant = false;
        try {
          meant = (seen === undefined || isSame(seen, found)) && still();
        } finally {
          if (!meant) putBack(aside, path);
        }
        if (!meant) return;
        // What is deleted of a directory must not be gone before the directory itself.
        for (const dir of found.isDirectory ? new Set([asideDir, dirname(path)]) : []) syncDir(dir);
        Deno.removeSync(aside, { recursive: true });
      }
      this.removed.push({ kind, path, ...(agentId === undefined ? {} : { agentId }), bytes });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound && at === path) return;
      this.fail(at, error);
    }
  }

  /** Deletes what an interrupted prune has moved aside. */
  empty(path: string): void {
    try {
      const bytes = bytesOf(path);
      if (!this.#dryRun) Deno.removeSync(path, { recursive: true });
      this.removed.push({ kind: "leftover", path, bytes });
    } catch (error) {
      this.fail(path, error);
    }
  }

  /** Notes what could not be removed, or not even be looked into. */
  fail(path: string, error: unknown): void {
    this.failed.push({ path, problem: messageOf(error) });
  }
}

/** A directory may change inside without being another one. */
function isSame(seen: Deno.FileInfo, now: Deno.FileInfo): boolean {
  if (seen.ino !== now.ino || seen.dev !== now.dev || seen.isSymlink !== now.isSymlink) return false;
  return seen.isDirectory || (seen.size === now.size && seen.mtime?.getTime() === now.mtime?.getTime());
}

/** Where another one has come in the meantime, it stays aside, and goes with the next prune. */
function putBack(aside: string, path: string): void {
  if (!isThere(path)) Deno.renameSync(aside, path);
}

/** What a file or directory takes, without following links. */
function bytesOf(path: string): number {
  const info = Deno.lstatSync(path);
  if (!info.isDirectory) return info.size;
  let bytes = 0;
  for (const { name } of Deno.readDirSync(path)) bytes += bytesOf(join(path, name));
  return bytes;
}
