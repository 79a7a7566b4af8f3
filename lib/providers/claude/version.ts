import type { Clock } from "../../base/clock.ts";
import { ask } from "../../process/ask.ts";
import type { ProviderLaunch } from "../contract.ts";

/** `claude --version` needs about 20 ms; a wrapper script may need longer. */
const PROBE_MS = 3_000;
/** First version that listens on a session socket, with the switch we set (measured: 2.1.197 has none, 2.1.225 does). */
const SOCKET_SINCE = "2.1.225";

/** How messages get into an agent in a terminal. */
export type Rung = "socket" | "monitor";

/** By what decides which program it is: the command, and where it is looked for. */
const asked = new Map<string, Promise<string | null>>();

/** Returns the version of a Claude Code, `2.1.330`, or null when it does not say. Each program is asked once. */
export function claudeVersion(
  launch: Pick<ProviderLaunch, "command" | "cwd" | "env">,
  clock: Clock,
): Promise<string | null> {
  const { command, cwd, env } = launch;
  const program = JSON.stringify([command, cwd, env.PATH]);
  let version = asked.get(program);
  if (version === undefined) {
    version = ask(command, ["--version"], { clock, timeoutMs: PROBE_MS, cwd, env }).then(
      (answer) => answer.state === "ended" ? readVersion(answer.out) : null,
      // What is wrong with the command is said when it is started.
      () => null,
    );
    asked.set(program, version);
  }
  return version;
}

/** The version in what `claude --version` prints. */
export function readVersion(text: string): string | null {
  return /(?<![\d.])(\d{1,4}\.\d{1,4}\.\d{1,6})(?![\d.])/.exec(text.slice(0, 1_000))?.[1] ?? null;
}

/**
 * Chooses the rung of the ladder. A version that is not known is taken for a new one: most are. Without Unix sockets
 * (`sockets` false: Windows) there is only the monitor.
 */
export function chooseRung(
  delivery: ProviderLaunch["delivery"],
  version: string | null,
  sockets = Deno.build.os !== "windows",
): Rung {
  if (delivery !== "auto") return delivery;
  if (!sockets) return "monitor";
  return version === null || isAtLeast(version, SOCKET_SINCE) ? "socket" : "monitor";
}

/** True when a version, `2.1.330`, is this one or a later one. */
export function isAtLeast(version: string, least: string): boolean {
  const [has, needs] = [version, least].map((each) => each.split(".").map(Number));
  for (const [i, part] of needs!.entries()) {
    if (has![i] !== part) return has![i]! > part;
  }
  return true;
}
