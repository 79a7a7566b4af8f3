import { basename, join, resolve } from "@std/path";
import { type Clock, delay } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import type { RunSettings } from "../../config/contract.ts";
import { slug, stableAgentId } from "../../config/identity.ts";
import { adminFileOf } from "../../control/contract.ts";
import type { Invocation, Io } from "../contract.ts";
import { runFlags } from "../flags.ts";
import { selfCommand } from "../self_command.ts";
import { providerCommand } from "./launcher.ts";
import { killSession, newSession, paneOf } from "./tmux.ts";

/** Variables that a tmux server started earlier does not have. Never a secret: what tmux is told shows in argv. */
const PASSED = [
  "PATH",
  "AGENT_RELAY_HOME",
  "AGENT_RELAY_URL",
  "AGENT_RELAY_LABEL",
  "AGENT_RELAY_TAGS",
  "AGENT_RELAY_CAPS",
];

/** How long the run in the session may take to be there, and how often it is looked for. */
const START_MS = 20_000;
const LOOK_MS = 50;

/**
 * Starts the same run in a tmux session `<tmuxPrefix>-<label>`, says so once it is under way, and returns the exit code:
 * that of the run, with its last words, when it ended at once. Throws `E_PROVIDER_CMD` without tmux, `E_CONFLICT` when a
 * run is in the session already, and `E_TIMEOUT`.
 */
export async function detach(
  settings: RunSettings,
  invocation: Invocation,
  { io, clock }: { io: Io; clock: Clock },
): Promise<number> {
  checkToken(settings);
  providerCommand(settings, io.env.PATH);
  const { provider, providerSettings, label, cwd, paths } = settings;
  const agentId = settings.agentId.value ??
    stableAgentId({ host: Deno.hostname(), provider, label: label.value, cwd: cwd.value });
  const name = `${providerSettings.tmuxPrefix.value}-${
    slug(label.value ?? basename(cwd.value), 40) || "agent"
  }`;
  const session = name.replaceAll(".", "_");
  const others = runners(paths.stateDir, agentId);
  await start(session, settings, invocation, io);
  for (const deadline = clock.mono() + START_MS; clock.mono() < deadline; await delay(clock, LOOK_MS)) {
    const pane = await paneOf(session);
    if (pane.state === "gone") {
      io.err(`runner: the agent in tmux session ${session} has ended already\n`);
      return 0;
    }
    if (pane.state === "ended") {
      await killSession(session);
      io.err(`${pane.text}\n`);
      return pane.code;
    }
    if ([...runners(paths.stateDir, agentId)].some((each) => !others.has(each))) {
      io.out(`agent runs in tmux session ${session}; attach with: tmux attach -t ${session}\n`);
      return 0;
    }
  }
  throw new RunnerError("E_TIMEOUT", `the agent in tmux session ${session} does not start`, {
    hint: `see: tmux attach -t ${session}`,
  });
}

/** Refuses what is read from standard input: nobody could give it there. Before it is read. Throws `E_FLAG`. */
export function checkInput({ flags }: Invocation): void {
  const taken = flags["token-stdin"] === true ? "--token-stdin" : flags.prompt === "-" ? "--prompt -" : null;
  if (taken === null) return;
  throw new RunnerError("E_FLAG", `--detach and ${taken} exclude each other`, { hint: "use a file" });
}

/** What tmux is told shows in argv, which is no place for a secret. */
function checkToken(settings: RunSettings): void {
  const { source, where } = settings.relay.token;
  if (source === "environment") {
    throw new RunnerError("E_FLAG", `--detach does not hand ${where} on: it would show`, {
      hint: "use --token-file",
    });
  }
}

async function start(session: string, settings: RunSettings, invocation: Invocation, io: Io): Promise<void> {
  const { provider, cwd } = settings;
  const { command, args } = selfCommand(provider, ...runArguments(invocation, cwd.value, io.cwd));
  const env = PASSED.flatMap((name) => io.env[name] === undefined ? [] : [[name, io.env[name]!] as const]);
  const begin = () => newSession(session, [command, ...args], { cwd: cwd.value, env });
  if (await begin()) return;
  // What is left of a run that failed may have been read by now.
  if ((await paneOf(session)).state === "ended") {
    await killSession(session);
    if (await begin()) return;
  }
  throw new RunnerError("E_CONFLICT", `tmux session ${session} is there already`, {
    hint: `tmux attach -t ${session}`,
  });
}

/** The flags as they were understood, without the one that led here; paths hold wherever the session is. */
function runArguments({ flags, providerArgs }: Invocation, cwd: string, base: string): string[] {
  const files = new Set(runFlags.filter(({ kind }) => kind === "file").map(({ name }) => name));
  const given = Object.entries<string | true>({ ...flags, cwd }).filter(([name]) => name !== "detach")
    .map(([name, value]) =>
      value === true ? `--${name}` : `--${name}=${files.has(name) ? resolve(base, value) : value}`
    );
  return [...given, ...(providerArgs.length > 0 ? ["--", ...providerArgs] : [])];
}

/**
 * Who has a control server under this agent id or a slot of it, by place and process: their command line is understood,
 * and their place is their own.
 */
function runners(stateDir: string, agentId: string): Set<string> {
  const found = new Set<string>();
  try {
    for (const { name } of Deno.readDirSync(stateDir)) {
      if (name !== agentId && !name.startsWith(`${agentId}-`)) continue;
      const pid = pidIn(adminFileOf(join(stateDir, name)));
      if (pid !== null) found.add(`${name} ${pid}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}

/** Null when there is no such file, or none of ours. */
function pidIn(adminFile: string): number | null {
  try {
    return (JSON.parse(Deno.readTextFileSync(adminFile)) as { pid: number }).pid;
  } catch {
    return null;
  }
}
