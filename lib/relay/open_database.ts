import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { ensurePrivateFile } from "../base/private_file.ts";
import { headerProblem, isDamage, putAside } from "../base/sqlite_damage.ts";
import { RelayDatabase } from "./database.ts";
import { refuseNewerRelay } from "./schema.ts";

/** What SQLite says of a sound file that is somebody else's. */
const OTHER = /already exists|no such/i;

/**
 * Opens the relay's database. One whose content is damaged is moved to `quarantine/` beside it, never deleted, and a new
 * one begins: a relay that does not serve would leave all agents of the machine without one. Throws `E_STATE` when it is
 * newer, in use by another relay, or cannot be opened for what is no damage.
 */
export function openRelayDatabase(options: { dbPath: string; clock: Clock; log: Log }): RelayDatabase {
  const { dbPath, clock, log } = options;
  try {
    refuseNewerRelay(dbPath);
    const problem = headerProblem(dbPath);
    if (problem !== null && problem !== "empty") throw new Error(`malformed: ${problem}`);
    return new RelayDatabase(dbPath, clock);
  } catch (error) {
    if (!isDamage(error) || OTHER.test(messageOf(error))) throw error;
    const moved = putAside(dbPath, clock);
    log.error("the relay's database was damaged and put aside, a new one begins without what was in it", {
      moved,
      reason: messageOf(error),
    });
    ensurePrivateFile(dbPath);
    return new RelayDatabase(dbPath, clock);
  }
}
