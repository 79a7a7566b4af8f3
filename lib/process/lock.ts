import { join } from "@std/path";
import { type Clock, delay } from "../base/clock.ts";
import { ensurePrivateDir, storing } from "../base/private_file.ts";
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
  for (;;) {
    const lock = take(options, (note) => note === ENDING && clock.mono() < deadline);
    if (lock !== null) return lock;
    await delay(clock, LOOK_MS);
  }
}

/** Takes the first free place; null when one of those before it is worth waiting for. */
function take(options: LockOptions, wait: (note: string) => boolean): InstanceLock | null {
  const { stateDir, fixed, pid } = options;
  let holder = "another process";
  for (let slot = 1; slot <= (fixed ? 1 : SLOTS); slot++) {
    const agentId = options.agentId(slot);
    const dir = join(stateDir, agentId);
    ensurePrivateDir(dir);
    const path = join(dir, "lock");
    const file = storing(
      path,
      () => Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 }),
    );
    if (!file.tryLockSync(true)) {
      const soon = wait(readNote(file));
      // Only who is refused has to say by whom.
      if (!soon && slot === (fixed ? 1 : SLOTS)) holder = readPid(file) ?? holder;
      file.close();
      if (soon) return null;
      continue;
    }
    const write = (text: string) => {
      file.truncateSync(0);
      file.seekSync(0, Deno.SeekMode.Start);
      file.writeSync(new TextEncoder().encode(text));
    };
    try {
      storing(path, () => write(`${pid}\n`));
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
          write(`${pid} ${ENDING}\n`);
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

/** What stands behind the pid. */
function readNote(file: Deno.FsFile): string {
  return readText(file, new Uint8Array(32)).split(" ")[1] ?? "";
}

function readText(file: Deno.FsFile, buffer: Uint8Array): string {
  file.seekSync(0, Deno.SeekMode.Start);
  return new TextDecoder().decode(buffer.subarray(0, file.readSync(buffer) ?? 0)).trim();
}
