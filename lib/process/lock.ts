import { join } from "@std/path";
import { ensurePrivateDir, storing } from "../base/private_file.ts";
import { RunnerError } from "../base/errors.ts";

/** An agent's state directory, held by this process alone. */
export interface InstanceLock {
  /** The agent id that was got, with its slot suffix. */
  readonly agentId: string;
  readonly dir: string;
  /** Gives the lock back. Idempotent. */
  release(): void;
}

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
export function lockInstance(
  options: { stateDir: string; agentId: (slot: number) => string; fixed: boolean; pid: number },
): InstanceLock {
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
      // Only who is refused has to say by whom.
      if (slot === (fixed ? 1 : SLOTS)) holder = readPid(file) ?? holder;
      file.close();
      continue;
    }
    try {
      storing(path, () => {
        file.truncateSync(0);
        file.writeSync(new TextEncoder().encode(`${pid}\n`));
      });
    } catch (error) {
      file.close();
      throw error;
    }
    let held = true;
    return {
      agentId,
      dir,
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
    file.seekSync(0, Deno.SeekMode.Start);
    const read = file.readSync(buffer) ?? 0;
    const text = new TextDecoder().decode(buffer.subarray(0, read)).trim();
    if (/^\d+$/.test(text)) return `pid ${text}`;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PID_WAIT_MS);
  }
  return null;
}
