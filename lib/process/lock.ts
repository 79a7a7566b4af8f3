import { join } from "@std/path";
import { type Clock, delay } from "../base/clock.ts";
import { checkStateFile, ensurePrivateDir, storing } from "../base/private_file.ts";
import { RunnerError } from "../base/errors.ts";

/** An agent's state directory, held by this process alone. */
export interface InstanceLock {
  /** The agent id that was got, with its slot suffix. */
  readonly agentId: string;
  readonly dir: string;
  /** Says that the run is over but for its clean-up: who wants this place may wait for it. Idempotent. */
  ending(): void;
  /** Gives the lock back. Idempotent. */
  release(): void;
}

/** How to take a place. */
export interface LockOptions {
  stateDir: string;
  /** The candidates, from slot 1. */
  agentId: (slot: number) => string;
  /** Only the first one will do. */
  fixed: boolean;
  pid: number;
}

/** Stands behind the pid of a run that is over but for its clean-up. */
const ENDING = "ending";
/** How long somebody who starts waits for such a run, and how often it is looked at. */
const ENDING_MS = 15_000;
const LOOK_MS = 20;

/** Slots tried before giving up. */
const SLOTS = 99;
/** How long the loser of a race waits for the winner's pid. */
const PID_TRIES = 20;
const PID_WAIT_MS = 10;
/** How often a directory is made anew that is taken away while it is being locked. */
const OPEN_TRIES = 20;

/**
 * Takes the first free of the candidates `agentId(1)`, `agentId(2)` and so on by an exclusive, non-blocking flock on
 * `<stateDir>/<id>/lock`. With `fixed`, only the first one is tried. The kernel releases the lock when the process
 * dies, so a stale file means nothing. Throws `E_LOCKED` naming the pid that holds it.
 */
export function lockInstance(options: LockOptions): InstanceLock {
  return take(options, () => false)!;
}

/**
 * As {@linkcode lockInstance}, but waits for a run that is just ending: whoever stops an agent and starts it again means
 * the same one, with its conversation and its mail.
 */
export async function lockInstanceAfterEnd(options: LockOptions, clock: Clock): Promise<InstanceLock> {
  const deadline = clock.mono() + ENDING_MS;
  let unnamed = 0;
  for (;;) {
    // Whoever has just taken the lock, or is just giving it back, says nothing: what it is about to say decides.
    const lock = take(
      options,
      (holder) =>
        holder === "" ? unnamed++ < PID_TRIES : holder.split(" ")[1] === ENDING && clock.mono() < deadline,
    );
    if (lock !== null) return lock;
    await delay(clock, LOOK_MS);
  }
}

/** An agent's place in the hands of somebody who looks after it: no run begins there meanwhile. */
export interface HeldPlace {
  /** When a runner last took the place or left it; milliseconds since 1970. */
  readonly usedAt: number;
  /** Gives it back as it was found. Idempotent. */
  release(): void;
}

/** What came of {@linkcode holdPlace}. */
export type PlaceHold =
  | { state: "held"; place: HeldPlace }
  /** A runner has it; with `ending`, one whose run is over but for its clean-up. */
  | { state: "taken"; ending: boolean }
  /** There is no lock, so no runner was ever there. */
  | { state: "none" };

/**
 * Takes the place of an agent for work of a moment, as a runner does, but makes nothing that is not there. The lock says
 * that its holder is about to end, so that a start waits instead of being refused or going to the next slot; what it then
 * finds is the directory as it was, or none. Throws what opening the lock throws.
 */
export function holdPlace(dir: string, pid: number): PlaceHold {
  const path = join(dir, "lock");
  try {
    if (!Deno.lstatSync(path).isFile) return { state: "none" };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { state: "none" };
    throw error;
  }
  const file = Deno.openSync(path, { read: true, write: true });
  if (!file.tryLockSync(true)) {
    const ending = readText(file, new Uint8Array(32)).split(" ")[1] === ENDING;
    file.close();
    return { state: "taken", ending };
  }
  if (!isAt(file, path)) {
    file.close();
    return { state: "none" };
  }
  const { atime, mtime } = file.statSync();
  try {
    rewrite(file, `${pid} ${ENDING}\n`);
  } catch { /* a full disk: a start is refused meanwhile */ }
  let held = true;
  return {
    state: "held",
    place: {
      usedAt: mtime?.getTime() ?? 0,
      release() {
        if (!held) return;
        held = false;
        file.truncateSync(0);
        // Looking after a place is not using it.
        if (mtime !== null) file.utimeSync(atime ?? mtime, mtime);
        file.unlockSync();
        file.close();
      },
    },
  };
}

/** Takes the first free place; null when one of those before it is worth waiting for. */
function take(options: LockOptions, wait: (holder: string) => boolean): InstanceLock | null {
  const { stateDir, fixed, pid } = options;
  let holder = "another process";
  for (let slot = 1; slot <= (fixed ? 1 : SLOTS); slot++) {
    const agentId = options.agentId(slot);
    const dir = join(stateDir, agentId);
    const path = join(dir, "lock");
    const { file, locked } = openLock(dir, path);
    if (!locked) {
      const soon = wait(readText(file, new Uint8Array(32)));
      // Only who is refused has to say by whom.
      if (!soon && slot === (fixed ? 1 : SLOTS)) holder = readPid(file) ?? holder;
      file.close();
      if (soon) return null;
      continue;
    }
    try {
      storing(path, () => rewrite(file, `${pid}\n`));
    } catch (error) {
      file.close();
      throw error;
    }
    let held = true;
    return {
      agentId,
      dir,
      ending() {
        if (!held) return;
        try {
          rewrite(file, `${pid} ${ENDING}\n`);
        } catch { /* a full disk: nobody waits then */ }
      },
      release() {
        if (!held) return;
        held = false;
        file.truncateSync(0);
        // A child that another thread has forked and that has not begun its program yet holds the file open as well.
        file.unlockSync();
        file.close();
      },
    };
  }
  throw new RunnerError("E_LOCKED", `agent ${options.agentId(1)} is run by ${holder}`, {
    hint: fixed ? "stop it, or choose another --agent-id" : "stop one of the runners of this place",
  });
}

/**
 * Opens the lock of a place, which is made when it is not there, and tries to get it. Whoever tidies up may take the
 * directory away at any moment: a lock in one that is gone would leave the place open to a second runner.
 */
function openLock(dir: string, path: string): { file: Deno.FsFile; locked: boolean } {
  return storing(path, () => {
    for (let tries = 1;; tries++) {
      let file: Deno.FsFile;
      try {
        ensurePrivateDir(dir);
        checkStateFile(path);
        file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
      } catch (error) {
        // It went after it was made, or while it was found to be there.
        const cause = error instanceof RunnerError ? error.cause : error;
        const went = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.AlreadyExists;
        if (went && tries < OPEN_TRIES) continue;
        throw error;
      }
      const locked = file.tryLockSync(true);
      if (!locked || isAt(file, path)) return { file, locked };
      file.close();
    }
  });
}

/** True while the path leads to the open file. Windows moves no directory with an open file in it. */
function isAt(file: Deno.FsFile, path: string): boolean {
  if (Deno.build.os === "windows") return true;
  try {
    const [open, there] = [file.statSync(), Deno.lstatSync(path)];
    return open.dev === there.dev && open.ino === there.ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function rewrite(file: Deno.FsFile, text: string): void {
  file.truncateSync(0);
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(text));
}

/** Whoever has the lock writes its pid a moment later. */
function readPid(file: Deno.FsFile): string | null {
  const buffer = new Uint8Array(32);
  for (let tries = 0; tries < PID_TRIES; tries++) {
    const pid = /^\d+/.exec(readText(file, buffer))?.[0];
    if (pid !== undefined) return `pid ${pid}`;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PID_WAIT_MS);
  }
  return null;
}

function readText(file: Deno.FsFile, buffer: Uint8Array): string {
  file.seekSync(0, Deno.SeekMode.Start);
  return new TextDecoder().decode(buffer.subarray(0, file.readSync(buffer) ?? 0)).trim();
}
