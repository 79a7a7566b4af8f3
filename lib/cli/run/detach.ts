import { basename } from "@std/path";
import { RunnerError, shown } from "../../base/errors.ts";
import type { RunSettings } from "../../config/contract.ts";
import { slug } from "../../config/identity.ts";
import type { Invocation, Io } from "../contract.ts";
import { selfCommand } from "../self_command.ts";

/** Variables that a tmux server started earlier does not have. Never a secret: what tmux is told shows in argv. */
const PASSED = [
  "PATH",
  "AGENT_RELAY_HOME",
  "AGENT_RELAY_URL",
  "AGENT_RELAY_LABEL",
  "AGENT_RELAY_TAGS",
  "AGENT_RELAY_CAPS",
];

/**
 * Starts the same run in a tmux session `<tmuxPrefix>-<label>` and returns its name; the person attaches when they
 * want to. Throws `E_PROVIDER_CMD` without tmux and `E_CONFLICT` when the session is there already.
 */
export async function detach(settings: RunSettings, invocation: Invocation, io: Io): Promise<string> {
  const { providerSettings, label, cwd, provider } = settings;
  const session = `${providerSettings.tmuxPrefix.value}-${
    slug(label.value ?? basename(cwd.value), 40) || "agent"
  }`
    .replaceAll(".", "_");
  const { command, args } = selfCommand(provider, ...runArguments(invocation, cwd.value));
  const env = PASSED.flatMap((name) => io.env[name] === undefined ? [] : ["-e", `${name}=${io.env[name]}`]);
  const result = await tmux([
    "new-session",
    "-d",
    "-s",
    session,
    "-c",
    cwd.value,
    ...env,
    "--",
    command,
    ...args,
  ]);
  if (result.code === 0) return session;
  if (/duplicate session/.test(result.err)) {
    throw new RunnerError("E_CONFLICT", `tmux session ${session} is there already`, {
      hint: `tmux attach -t ${session}`,
    });
  }
  throw new RunnerError("E_PROVIDER_CMD", `tmux cannot start the session: ${shown(result.err.trim())}`);
}

/** The flags as they were understood, without the one that led here. */
function runArguments({ flags, providerArgs }: Invocation, cwd: string): string[] {
  const given = Object.entries<string | true>({ ...flags, cwd }).filter(([name]) => name !== "detach")
    .map(([name, value]) => value === true ? `--${name}` : `--${name}=${value}`);
  return [...given, ...(providerArgs.length > 0 ? ["--", ...providerArgs] : [])];
}

async function tmux(args: string[]): Promise<{ code: number; err: string }> {
  try {
    const { code, stderr } = await new Deno.Command("tmux", { args, stdout: "null", stderr: "piped" })
      .output();
    return { code, err: new TextDecoder().decode(stderr) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new RunnerError("E_PROVIDER_CMD", `"tmux" not found on PATH`, {
      hint: "--detach needs tmux; or use --headless",
    });
  }
}
