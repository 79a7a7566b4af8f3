import { parseArgs } from "@std/cli";
import { flagDuration, parseDuration } from "../base/duration.ts";
import { type ErrorCode, RunnerError, shown } from "../base/errors.ts";
import { nearMisses } from "../base/suggest.ts";
import { IDENTIFIER } from "../protocol/ids.ts";
import type { Invocation } from "./contract.ts";
import type { FlagSpec, VerbSpec } from "./spec.ts";
import { findVerb, PROVIDERS, VERBS } from "./table.ts";

const TOKEN_HINT = "use --token-file, --token-stdin or AGENT_RELAY_TOKEN";

/** Names of links to this program, and the provider that each implies. */
export const PROVIDER_OF_NAME: ReadonlyMap<string, string> = new Map([
  ["claude-relay", "claude"],
  ["codex-relay", "codex"],
]);

/** Options that stand where a verb does. */
export const OPTION_VERBS: ReadonlyMap<string, string> = new Map([
  ["--help", "help"],
  ["-h", "help"],
  ["--version", "version"],
  ["-V", "version"],
  ["-v", "version"],
]);

/** A command line that was understood. */
export interface Parsed {
  spec: VerbSpec;
  invocation: Invocation;
}

/**
 * Parses a command line by the table. Everything the platform's parser would let pass is an error here: unknown
 * and repeated flags, missing values, values that look like flags.
 *
 * `impliedProvider` comes from the binary's name (`claude-relay`): it counts when the first word is no verb.
 */
export function parseCommandLine(args: readonly string[], impliedProvider: string | null = null): Parsed {
  args.forEach((arg, index) => {
    if (arg.includes("\ufffd")) {
      throw new RunnerError("E_ARGV", `argument ${index + 1} contains U+FFFD (not valid UTF-8?)`);
    }
    if (arg.includes("\0")) {
      throw new RunnerError("E_ARGV", `argument ${index + 1} has a NUL byte at offset ${arg.indexOf("\0")}`);
    }
  });
  const { spec, rest } = chooseVerb(args, impliedProvider);
  const end = rest.indexOf("--");
  const own = end < 0 ? rest : rest.slice(0, end);
  const after = end < 0 ? [] : rest.slice(end + 1);
  refuseToken(own);
  const normalized = normalize(spec, own);
  const parsed = parseArgs(normalized.flags, {
    string: spec.flags.filter((flag) => flag.kind !== "switch").map((flag) => flag.name),
    boolean: spec.flags.filter((flag) => flag.kind === "switch").map((flag) => flag.name),
  });
  const flags: Record<string, string | true> = {};
  for (const { name, kind } of spec.flags) {
    const value = parsed[name];
    if (kind === "switch") {
      if (value === true) flags[name] = true;
    } else if (value !== undefined) flags[name] = String(value);
  }
  for (const flag of spec.flags) {
    const value = flags[flag.name];
    if (typeof value === "string") checkValue(flag, value);
  }
  const positionals = spec.passThrough || end < 0
    ? normalized.positionals
    : [...normalized.positionals, ...after];
  if (flags.help !== true) checkPositionals(spec, positionals);
  const named = spec.canonical === spec.name ? positionals : [spec.name, ...positionals];
  return {
    spec,
    invocation: {
      verb: spec.canonical,
      flags,
      positionals: named,
      providerArgs: spec.passThrough ? after : [],
    },
  };
}

/** The provider that a binary's name implies (`claude-relay`, also as `.exe` or with a path), or null. */
export function impliedProvider(names: readonly string[]): string | null {
  for (const name of names) {
    const base = name.split(/[\\/]/).at(-1)!.replace(/\.exe$/i, "").toLowerCase();
    const provider = PROVIDER_OF_NAME.get(base);
    if (provider !== undefined) return provider;
  }
  return null;
}

/** True when no word says which verb is meant, so that the program's own name may. */
export function leavesVerbOpen([first]: readonly string[]): boolean {
  return first === undefined || first.startsWith("-");
}

/** The verb that a command line means and the words that follow it; null when it means none. */
export function meantVerb(
  args: readonly string[],
  implied: string | null,
): { spec: VerbSpec; rest: string[] } | null {
  const [first, ...rest] = args;
  const verb = first === undefined ? undefined : findVerb(OPTION_VERBS.get(first) ?? first);
  if (verb) return { spec: verb, rest };
  return implied !== null && leavesVerbOpen(args) ? { spec: findVerb(implied)!, rest: [...args] } : null;
}

function chooseVerb(args: readonly string[], implied: string | null): { spec: VerbSpec; rest: string[] } {
  const meant = meantVerb(args, implied);
  if (meant !== null) return meant;
  const [first] = args;
  if (first === undefined) {
    throw new RunnerError("E_USAGE", "no provider given; use claude or codex", {
      hint: `try "runner claude --label api", or "runner help"`,
    });
  }
  refuseToken(args);
  if (first.startsWith("-")) {
    const verb = args.find((arg) => findVerb(arg)?.hidden === false) ?? "claude";
    throw new RunnerError("E_USAGE", `the provider or verb comes first, got option ${shown(first)}`, {
      hint: `use "runner ${verb} ${shown(first)}"`,
    });
  }
  const near = OTHER_WORDS.get(first) ??
    nearMisses(first, VERBS.filter((each) => !each.hidden).map((each) => each.name), 1)[0];
  throw new RunnerError("E_PROVIDER", `unknown verb or provider "${shown(first)}"`, {
    hint: `${near === undefined ? "" : `did you mean ${near}? `}providers are ${
      PROVIDERS.join(", ")
    }; see "runner help"`,
  });
}

/** What people type who know other tools. */
const OTHER_WORDS: ReadonlyMap<string, string> = new Map([
  ["kill", "stop --hard"],
  ["list", "agents"],
  ["log", "logs"],
  ["ls", "agents"],
  ["ps", "status"],
  ["tail", "logs --follow"],
  ["top", "status"],
  ["why", "status"],
]);

/** A token in argv can be read by every user of the machine; its value must not even be repeated. */
function refuseToken(args: readonly string[]): void {
  if (args.some((arg) => arg === "--token" || arg.startsWith("--token="))) {
    throw new RunnerError("E_TOKEN_ARGV", "token on the command line is visible to other users", {
      hint: TOKEN_HINT,
    });
  }
}

/** Joins `--flag value` to `--flag=value` and splits the positionals off; refuses what is ambiguous. */
function normalize(spec: VerbSpec, args: readonly string[]): { flags: string[]; positionals: string[] } {
  const flags: string[] = [];
  const positionals: string[] = [];
  const given = new Set<string>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "-" || !arg.startsWith("-")) {
      positionals.push(arg);
      continue;
    }
    const [, typed, value] = /^(--?[^=]*)(?:=([\s\S]*))?$/.exec(arg)!;
    const flag = findFlag(spec, typed!);
    if (flag === undefined) throw unknownFlag(spec, typed!);
    if (given.has(flag.name)) throw new RunnerError("E_FLAG", `--${flag.name} given twice`);
    given.add(flag.name);
    if (flag.kind === "switch") {
      if (value !== undefined) throw new RunnerError("E_FLAG_VALUE", `--${flag.name} takes no value`);
      flags.push(`--${flag.name}`);
      continue;
    }
    if (value !== undefined) {
      flags.push(`--${flag.name}=${value}`);
      continue;
    }
    const next = args[++i];
    if (next === undefined) throw new RunnerError("E_FLAG_VALUE", `--${flag.name} needs a value`);
    if (flag.kind !== "free-text" && next.startsWith("-") && !isNegativeNumber(flag, next)) {
      const literal = flag.kind === "file" ? `./${next}` : next;
      throw new RunnerError("E_FLAG_VALUE", `--${flag.name} needs a value, got option ${shown(next)}`, {
        hint: `use --${flag.name}=${shown(literal)}`,
      });
    }
    flags.push(`--${flag.name}=${next}`);
  }
  return { flags, positionals };
}

function isNegativeNumber(flag: FlagSpec, text: string): boolean {
  return (flag.kind === "integer" || flag.kind === "amount" || flag.kind === "duration") && /^-\d/.test(text);
}

/** The flag that `--name`, `--alias` or `-a` means. */
export function findFlag(spec: VerbSpec, typed: string): FlagSpec | undefined {
  const name = typed.replace(/^--?/, "");
  const single = !typed.startsWith("--");
  return spec.flags.find((flag) =>
    single
      ? name.length === 1 && flag.aliases?.includes(name)
      : flag.name === name || (name.length > 1 && flag.aliases?.includes(name))
  );
}

function unknownFlag(spec: VerbSpec, typed: string): RunnerError {
  const names = spec.flags.filter((flag) => !flag.hidden)
    .flatMap((flag) => [flag.name, ...flag.aliases ?? []]).filter((name) => name.length > 1);
  const [near] = nearMisses(typed.replace(/^--?/, ""), names, 1);
  const hints = [
    ...(near === undefined ? [] : [`did you mean --${near}?`]),
    ...(spec.passThrough ? ["provider options go after --"] : []),
  ];
  return new RunnerError("E_FLAG", `unknown option ${shown(typed)}`, {
    hint: hints.length > 0 ? hints.join(" ") : `see "runner help ${spec.name}"`,
  });
}

/** Identifiers have their own rule and their own codes. */
const IDENTIFIER_FLAGS: Readonly<Record<string, { code: ErrorCode; what: string }>> = {
  label: { code: "E_LABEL", what: "label" },
  "agent-id": { code: "E_AGENT_ID", what: "agent id" },
  from: { code: "E_FLAG_VALUE", what: "sender" },
};

function checkValue(flag: FlagSpec, value: string): void {
  const identifier = IDENTIFIER_FLAGS[flag.name];
  if (identifier) return checkIdentifier(value, identifier.code, identifier.what);
  switch (flag.kind) {
    case "duration": {
      const ms = parseDuration(value);
      if (ms === null || ms < flag.minMs || ms > flag.maxMs) {
        throw new RunnerError(
          "E_DURATION",
          `--${flag.name}: "${shown(value)}" is not allowed here; expected ${flagDuration(flag.minMs)}..${
            flagDuration(flag.maxMs)
          }, like ${flag.default ?? "20s"}`,
        );
      }
      return;
    }
    case "amount": {
      const amount = /^\d{1,9}(?:\.\d{1,6})?$/.test(value) ? Number(value) : NaN;
      if (!(amount >= flag.min && amount <= flag.max)) {
        throw new RunnerError(
          "E_FLAG_VALUE",
          `--${flag.name}: "${shown(value)}" is no amount from ${flag.min} to ${flag.max}, like 2.50`,
        );
      }
      return;
    }
    case "integer": {
      const number = /^\d{1,16}$/.test(value) ? Number(value) : NaN;
      if (!(number >= flag.min && number <= flag.max)) {
        throw new RunnerError(
          "E_FLAG_VALUE",
          `--${flag.name}: "${shown(value)}" is not a whole number from ${flag.min} to ${flag.max}`,
        );
      }
      return;
    }
    case "choice":
      if (!flag.choices.includes(value)) {
        const [near] = nearMisses(value, flag.choices, 1);
        const what = flag.code === "E_APPROVAL" ? "unknown mode" : `--${flag.name}: unknown value`;
        throw new RunnerError(flag.code, `${what} "${shown(value)}"; expected ${flag.choices.join(", ")}`, {
          ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
        });
      }
      return;
    case "text":
    case "file":
      if (value === "") throw new RunnerError("E_FLAG_VALUE", `--${flag.name} needs a value`);
      return;
    case "free-text":
    case "switch":
      return;
  }
}

/** Refuses what is no identifier (S-11); nothing is cleaned silently. */
export function checkIdentifier(value: string, code: ErrorCode, what: string): void {
  if (value === "") throw new RunnerError(code, `empty ${what}`);
  if (value.length > 64) throw new RunnerError(code, `${what} has ${value.length} characters, at most 64`);
  if (!IDENTIFIER.test(value)) {
    throw new RunnerError(code, `${what} "${shown(value)}" has characters outside A-Za-z0-9._-`, {
      hint: "it begins with a letter or a digit",
    });
  }
}

function checkPositionals(spec: VerbSpec, positionals: readonly string[]): void {
  const required = spec.positionals.filter((each) => each.required);
  if (positionals.length < required.length) {
    const missing = required[positionals.length]!;
    throw new RunnerError("E_USAGE", `${spec.name} needs <${missing.name}>`, {
      hint: spec.examples[0] === undefined ? `see "runner help ${spec.name}"` : `like: ${spec.examples[0]}`,
    });
  }
  if (positionals.length > spec.positionals.length) {
    throw new RunnerError(
      "E_USAGE",
      `unexpected argument "${shown(positionals[spec.positionals.length]!)}"`,
      {
        hint: spec.passThrough
          ? "a first prompt is --prompt TEXT; provider options go after --"
          : spec.positionals.some(({ name }) => name.startsWith("text"))
          ? "put the text in quotes"
          : `see "runner help ${spec.name}"`,
      },
    );
  }
}
