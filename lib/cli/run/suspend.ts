import type { Clock } from "../../base/clock.ts";
import { delay, TIMED_OUT, withDeadline } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { ask } from "../../process/ask.ts";
import type { Session } from "./session.ts";

/** How long it may take until the shell is back: the person waits for it. */
const SUSPEND_MS = 1_500;
/** A signal to oneself has had its effect by then. */
const STOPPED_MS = 50;

/**
 * Makes Ctrl-Z what it is elsewhere: the shell is back, `fg` goes on. Both agents send SIGTSTP to the whole group when
 * they get that key (Claude Code 2.1.330, Codex 0.169.0), which would stop this process as it is, and with it a relay
 * that others are on. So relay and bus are left first. After `bg` an agent of a terminal (`interactive`) stays as it was:
 * the kernel stops it at its first look at the terminal, and would stop this process with it, back on the bus by then.
 * Returns how to end that.
 */
export function onSuspend(
  session: Pick<Session, "suspend" | "resume">,
  { interactive, clock, log }: { interactive: boolean; clock: Clock; log: Log },
): () => void {
  if (Deno.build.os === "windows") return () => {};
  let under: Promise<void> | null = null;
  const suspend = async () => {
    log.info("suspended");
    const late = new AbortController();
    const left = session.suspend(late.signal).catch((error) =>
      log.warn("bus and relay are not left in order", { error: messageOf(error) })
    );
    if (await withDeadline(clock, SUSPEND_MS, left) === TIMED_OUT) {
      late.abort();
      log.warn("bus and relay are not left in time");
    }
    // Not SIGSTOP: nobody could wake up a run whose shell has no job control, or that has no shell (in a window of tmux
    // that runs nothing else). The kernel knows and discards SIGTTOU then, as it does SIGTSTP, whose default action is
    // lost once it has a listener. Claude Code has given the terminal back by then, and takes it again when continued.
    for (;;) {
      const since = clock.mono();
      Deno.kill(Deno.pid, "SIGTTOU");
      await delay(clock, STOPPED_MS);
      const wasStopped = clock.mono() - since > 4 * STOPPED_MS;
      if (!interactive || !wasStopped || !await isInBackground(clock)) break;
    }
    session.resume();
    log.info("resumed");
  };
  const handler = () => {
    under ??= suspend().finally(() => under = null);
  };
  Deno.addSignalListener("SIGTSTP", handler);
  return () => Deno.removeSignalListener("SIGTSTP", handler);
}

/** True when the terminal belongs to another process group, as after `bg`; false also when nobody can tell. */
async function isInBackground(clock: Clock): Promise<boolean> {
  const args = ["-o", "pgid=,tpgid=", "-p", String(Deno.pid)];
  const answer = await ask("ps", args, { clock, timeoutMs: SUSPEND_MS }).catch(() => null);
  if (answer?.state !== "ended") return false;
  const [own, foreground] = answer.out.trim().split(/\s+/);
  return foreground !== undefined && Number(foreground) > 0 && own !== foreground;
}
