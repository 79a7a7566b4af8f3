import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

const MIB = 1024 * 1024;
const LOOK_MS = 1_000;
/**
 * Between two looks at a small process that does not grow. The look is most of what an idle runner does: 0.8 of 1.2 ms
 * a second (Deno 2.9.6), since the runtime goes through its heap for the one figure.
 */
const REST_MS = 4_000;
/** More than this since the last look is growth. */
const GROWTH_BYTES = MIB;
/** Above this, what can be fetched again is given back. */
const SOFT_BYTES = 192 * MIB;
/** Above this, sockets are dropped: what waits in them is asked for again. */
const DROP_BYTES = 384 * MIB;
/** Above this for {@linkcode HARD_MS}, the run ends before the system ends it at a worse moment. */
const HARD_BYTES = 512 * MIB;
const HARD_MS = 5_000;
/** Dropping sockets again and again would cut off the very answers that empty them. */
const DROP_SPACING_MS = 10_000;

/** What is done at each bound. */
export interface MemoryActions {
  /** Called at every look above the soft bound. */
  soft(rssBytes: number): void;
  drop(rssBytes: number): void;
  hard(rssBytes: number): void;
}

/** Looks at the memory of this process once a second, less often while it rests. Returns how to stop it. */
export function watchMemory(
  options: { clock: Clock; log: Log; rssBytes(): number; actions: MemoryActions },
): () => void {
  const { clock, log, actions } = options;
  let cancel = () => {};
  let overSince: number | null = null;
  let droppedAt = -Infinity;
  let ended = false;
  let soft = false;
  let last = 0;
  const look = () => {
    const rss = options.rssBytes();
    const rests = rss < SOFT_BYTES / 2 && rss - last < GROWTH_BYTES;
    last = rss;
    cancel = clock.setTimer(rests ? REST_MS : LOOK_MS, look);
    const now = clock.mono();
    if (rss >= SOFT_BYTES) {
      if (!soft) {
        log.warn("the runner uses much memory, texts of waiting messages are let go", { mib: mib(rss) });
      }
      soft = true;
      actions.soft(rss);
    } else if (rss < 0.9 * SOFT_BYTES) {
      soft = false;
    }
    if (rss >= DROP_BYTES && now - droppedAt >= DROP_SPACING_MS) {
      droppedAt = now;
      log.warn("the runner uses too much memory, its sockets are dropped", { mib: mib(rss) });
      actions.drop(rss);
    }
    overSince = rss >= HARD_BYTES ? overSince ?? now : null;
    if (overSince !== null && now - overSince >= HARD_MS && !ended) {
      ended = true;
      actions.hard(rss);
    }
  };
  cancel = clock.setTimer(LOOK_MS, look);
  return () => cancel();
}

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
