import { RunnerError, shown } from "../../base/errors.ts";
import type { ProviderSetup } from "../contract.ts";

/** A person's own arguments for Claude Code, by what becomes of them. */
export interface OwnArguments {
  /** For the first conversation of a run: as typed, without `--settings`. */
  opening: string[];
  /** For every later start: also without the choice of a conversation and without the prompt. */
  later: string[];
  /** Value of the last `--settings`; null without. */
  settings: string | null;
  /** Flag that chooses a conversation; null without. */
  choice: string | null;
  /** Claude's own word for what it may do unasked (`--permission-mode`); null without. */
  permissionMode: string | null;
  /** First word of a prompt; null without. */
  prompt: string | null;
  /** Flags as typed, without values. */
  flags: string[];
}

/** Flags of Claude Code 2.1.330 that take no value: a word after one of them is the prompt. */
const SWITCHES = new Set([
  "--allow-dangerously-skip-permissions",
  "--ax-screen-reader",
  "--background",
  "--bare",
  "--bg",
  "--brief",
  "--chrome",
  "--continue",
  "-c",
  "--dangerously-skip-permissions",
  "--desktop",
  "--disable-slash-commands",
  "--exclude-dynamic-system-prompt-sections",
  "--fork-session",
  "--forward-subagent-text",
  "--help",
  "-h",
  "--ide",
  "--include-hook-events",
  "--include-partial-messages",
  "--no-chrome",
  "--no-session-persistence",
  "--print",
  "-p",
  "--replay-user-messages",
  "--restricted",
  "--safe-mode",
  "--strict-mcp-config",
  "--tmux",
  "--verbose",
  "--version",
  "-v",
]);

/** Flags that take every word up to the next flag. */
const LISTS = new Set([
  "--add-dir",
  "--allowed-tools",
  "--allowedTools",
  "--betas",
  "--disallowed-tools",
  "--disallowedTools",
  "--file",
  "--mcp-config",
  "--tools",
]);

/** Flags whose value may be missing. */
const OPTIONAL = new Set([
  "--cloud",
  "--debug",
  "-d",
  "--from-pr",
  "--prompt-suggestions",
  "--remote-control",
  "--resume",
  "-r",
  "--teleport",
  "--worktree",
  "-w",
]);

const WORKTREES = new Set(["--worktree", "-w"]);

/** Flags with which a person chooses the conversation. */
const CHOICES = new Set([
  "--continue",
  "-c",
  "--fork-session",
  "--from-pr",
  "--resume",
  "-r",
  "--session-id",
  "--teleport",
]);

/** Flags with which Claude hands the work to another process and ends: nobody would watch over it. */
const LEAVING = new Set(["--background", "--bg", "--cloud", "--desktop", "--environment", "--tmux"]);

/** Flags of headless runs that are ours: the runner reads what Claude prints. */
const STREAMS = new Set(["--input-format", "--output-format"]);

/**
 * Splits a person's own arguments. Of two `--settings` Claude keeps only the last (measured), so theirs is taken out to
 * be merged into the generated file. A flag that is not known here is taken for one with a value.
 *
 * A `--worktree` without a name gets this one: Claude makes a new tree with a name of chance at every start (2.1.330,
 * measured), and after a restart the conversation would go on without its files.
 */
export function splitArguments(args: readonly string[], worktree?: string): OwnArguments {
  const own: OwnArguments = {
    opening: [],
    later: [],
    settings: null,
    choice: null,
    permissionMode: null,
    prompt: null,
    flags: [],
  };
  const isFlag = (word: string | undefined) => word !== undefined && word.startsWith("-") && word !== "-";
  for (let i = 0; i < args.length;) {
    const arg = args[i]!;
    if (!isFlag(arg)) {
      own.prompt ??= arg;
      own.opening.push(arg);
      i++;
      continue;
    }
    if (arg === "--") {
      // What follows is the prompt.
      own.prompt ??= args[i + 1] ?? null;
      own.opening.push(...args.slice(i));
      break;
    }
    const name = arg.split("=", 1)[0]!;
    const end = endOf(args, i, name);
    const words = args.slice(i, end);
    i = end;
    own.flags.push(name);
    const value = arg.includes("=") ? arg.slice(name.length + 1) : words[1] ?? null;
    if (name === "--settings") {
      own.settings = value;
      continue;
    }
    if (name === "--permission-mode") own.permissionMode = value;
    else if (name === "--dangerously-skip-permissions") own.permissionMode = "bypassPermissions";
    if (WORKTREES.has(arg) && words.length === 1 && worktree !== undefined) words.push(worktree);
    own.opening.push(...words);
    if (CHOICES.has(name)) own.choice ??= name;
    else own.later.push(...words);
  }
  return own;

  function endOf(words: readonly string[], at: number, name: string): number {
    const next = at + 1;
    if (words[at]!.includes("=") || SWITCHES.has(name) || next >= words.length) return next;
    if (LISTS.has(name)) {
      const rest = words.slice(next);
      const count = rest.findIndex(isFlag);
      return count === -1 ? words.length : next + count;
    }
    return OPTIONAL.has(name) && isFlag(words[next]) ? next : next + 1;
  }
}

/**
 * Refuses arguments that cannot work under a runner, before anything is started. Throws `E_PROVIDER_CMD`.
 */
export function checkArguments(
  { args, env, headless, approval }: Pick<ProviderSetup, "args" | "env" | "headless" | "approval">,
): void {
  const { flags, choice, permissionMode, prompt } = splitArguments(args);
  if (permissionMode !== null && approval !== "guarded") {
    throw refusal(
      `permission mode ${permissionMode} and --approval ${approval} exclude each other`,
      "leave one of them out",
    );
  }
  const leaving = flags.find((name) => LEAVING.has(name));
  if (leaving !== undefined) {
    throw refusal(`claude ${leaving} leaves the runner`, "use --detach, or --headless");
  }
  if (!headless) {
    // What a message came to is read from the transcript; without one, every message would look untaken and be run again.
    if (/^(?:1|true|yes|on)$/i.test(env[NO_TRANSCRIPT]?.trim() ?? "")) {
      throw refusal(
        `${NO_TRANSCRIPT} leaves no record of the conversation, so no message could be proven`,
        "unset it, or use --headless",
      );
    }
    return;
  }
  const stream = flags.find((name) => STREAMS.has(name));
  if (stream !== undefined) throw refusal(`headless claude does not take ${stream}`, "use --output jsonl");
  if (choice !== null) throw refusal(`headless claude does not take ${choice}`, "use --conversation ID");
  // Claude would pass over it without a word.
  if (prompt !== null) {
    throw refusal(`headless claude does not take "${shown(prompt)}"`, "a first prompt is --prompt TEXT");
  }
}

const NO_TRANSCRIPT = "CLAUDE_CODE_SKIP_PROMPT_HISTORY";

function refusal(message: string, hint: string): RunnerError {
  return new RunnerError("E_PROVIDER_CMD", message, { hint });
}
