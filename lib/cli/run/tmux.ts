import { systemClock } from "../../base/clock.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import { ask } from "../../process/ask.ts";
import type { TmuxPane } from "./run_view.ts";

/** Longest time one call of tmux may take. */
const TMUX_MS = 10_000;
/** Lines kept of what a command said at its end. */
const LAST_LINES = 20;

/** How the command of a session is. */
export type Pane =
  | { state: "runs" }
  /** It ended with another code than 0 and left its last words. */
  | { state: "ended"; code: number; text: string }
  /** The session is not there, or no more: a command that ends with 0 takes it along. */
  | { state: "gone" };

/** Stands between a command's last words and the line that follows them. */
const MARK = "[ended with code ";

/**
 * Keeps the window of a command that failed, so that its last words can be read. By a shell, since `remain-on-exit` of
 * tmux 3.3a keeps the windows of all programs that close their terminal before they end, and never learns their codes.
 * Ctrl-C is the command's.
 */
export const KEEP = `trap : INT QUIT
"$@"
code=$?
[ "$code" -eq 0 ] && exit 0
printf '\\n%s\\n' "${MARK}$code; Enter closes the window]"
tmux set-option -p @exit "$code"
read -r _
exit "$code"`;

/**
 * Starts a command in a detached session of its own; false when one of that name is there. Throws `E_PROVIDER_CMD`.
 *
 * The session begins in the directory of the client that asks for it. tmux would expand the value of `-c` as a format, in
 * which `#(...)` is a command for the shell, and has no escape for every name (`##[` stays as it is). It also expands
 * `-s`, which takes identifiers only; what follows `-e` and the words of the command it takes as they are.
 */
export async function newSession(
  session: string,
  command: readonly string[],
  { cwd, env }: { cwd: string; env: readonly (readonly [name: string, value: string])[] },
): Promise<boolean> {
  const variables = env.flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const start = ["new-session", "-d", "-s", session, ...variables, "--", "sh", "-c", KEEP, "sh"];
  const { code, err } = await tmux([...start, ...command.map(literal)], cwd);
  if (code === 0) return true;
  if (/duplicate session/.test(err)) return false;
  throw new RunnerError("E_PROVIDER_CMD", `tmux cannot start the session: ${shown(err.trim())}`, {
    hint: "see: tmux new-session; or use --headless",
  });
}

/** Returns how the command of a session is. */
export async function paneOf(session: string): Promise<Pane> {
  const target = `=${session}:`;
  const { code, out } = await tmux(["display-message", "-p", "-t", target, "#{pane_pid} #{@exit}"]);
  const [pid = "", status = ""] = out.trim().split(" ");
  if (code !== 0 || pid === "") return { state: "gone" };
  if (status === "") return { state: "runs" };
  const shot = await tmux(["capture-pane", "-p", "-J", "-S", String(-LAST_LINES), "-t", target]);
  return { state: "ended", code: Number(status), text: shot.out.split(MARK)[0]!.trim() };
}

/** Ends a session. Idempotent. */
export async function killSession(session: string): Promise<void> {
  await tmux(["kill-session", "-t", `=${session}`]);
}

/** A last `;` of an argument would separate commands. */
function literal(arg: string): string {
  return arg.endsWith(";") ? `${arg.slice(0, -1)}\\;` : arg;
}

function noTmux(): RunnerError {
  return new RunnerError("E_PROVIDER_CMD", `"tmux" not found on PATH`, {
    hint: "--detach needs tmux; or use --headless",
  });
}

async function tmux(
  args: readonly string[],
  cwd?: string,
): Promise<{ code: number; out: string; err: string }> {
  const where = cwd === undefined ? {} : { cwd };
  const answer = await ask("tmux", args, { clock: systemClock, timeoutMs: TMUX_MS, ...where });
  if (answer.state === "ended") return answer;
  throw answer.state === "missing"
    ? noTmux()
    : new RunnerError("E_PROVIDER_CMD", "tmux does not answer", { hint: "see: tmux ls; or use --headless" });
}

/**
 * Shows a pane in this terminal until the person leaves it, and returns tmux's exit code. From inside the same tmux server
 * it switches to the pane, since tmux refuses to be put into itself. Throws `E_PROVIDER_CMD` without tmux.
 */
export async function attachPane(
  { socket, pane }: TmuxPane,
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const inside = env.TMUX?.startsWith(`${socket},`) === true;
  const args = inside ? ["switch-client", "-t", pane] : ["attach-session", "-t", pane];
  try {
    const { code } = await new Deno.Command("tmux", { args: ["-S", socket, ...args] }).spawn().status;
    return code;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw noTmux();
    throw error;
  }
}
