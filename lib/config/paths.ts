import { isAbsolute, join } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";
import { exposure, isLinkToNothing, LOST } from "../base/private_file.ts";
import type { Paths } from "./contract.ts";

/**
 * Returns where everything is: below `AGENT_RELAY_HOME`, by default `~/.agent-relay`. Throws `E_HOME` when there is
 * no home, when the variable is not absolute, or when the place is no directory, is another user's or others may
 * write into it. It may be a link: what counts is where that leads.
 */
export function resolvePaths(env: Readonly<Record<string, string>>): Paths {
  const home = findHome(env);
  try {
    const info = Deno.statSync(home);
    if (!info.isDirectory) throw bad("is not a directory", home);
    const exposed = exposure(info);
    if (exposed !== null) throw bad(`is ${exposed}`, home, `run chmod 700 ${shown(home)}, as its owner`);
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    if (!(error instanceof Deno.errors.NotFound)) throw bad("cannot be read", home);
    if (isLinkToNothing(home)) throw bad(`is ${LOST}`, home);
  }
  return {
    home,
    configFile: join(home, "config.json"),
    providersDir: join(home, "providers"),
    relayTokenFile: join(home, "relay.token"),
    relayDb: join(home, "relay.db"),
    stateDir: join(home, "state"),
    logsDir: join(home, "logs"),
  };
}

function findHome(env: Readonly<Record<string, string>>): string {
  const given = env.AGENT_RELAY_HOME;
  if (given !== undefined && given !== "") {
    if (!isAbsolute(given)) throw bad("must be absolute", given);
    return given;
  }
  const user = env.HOME || (Deno.build.os === "windows" ? env.USERPROFILE : undefined);
  if (!user || !isAbsolute(user)) {
    throw new RunnerError("E_HOME", "cannot find the home directory", { hint: "set AGENT_RELAY_HOME" });
  }
  return join(user, ".agent-relay");
}

function bad(what: string, home: string, hint?: string): RunnerError {
  return new RunnerError("E_HOME", `AGENT_RELAY_HOME ${what}`, {
    where: shown(home),
    ...(hint === undefined ? {} : { hint }),
  });
}
