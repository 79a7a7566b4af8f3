import { join, resolve } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";
import { parseDuration } from "../base/duration.ts";
import { IDENTIFIER } from "../protocol/ids.ts";
import type { ApprovalMode, DeliveryChannel } from "../providers/contract.ts";
import type { Paths, ProviderSettings, RelaySettings, RunSettings, Setting } from "./contract.ts";
import { type ConfigFiles, loadConfigFiles } from "./load.ts";
import { resolvePaths } from "./paths.ts";
import { goalSettings } from "./goal.ts";
import { readPrompt } from "./prompt.ts";
import { checkRelayUrl, DEFAULT_RELAY_PORT } from "./relay_url.ts";
import { checkGivenToken, readTokenFile } from "./token.ts";

/** What a person typed and the process was given. */
export interface ConfigInput {
  flags: Readonly<Record<string, string | true>>;
  env: Readonly<Record<string, string>>;
  cwd: string;
  readStdin(): Promise<string>;
}

const DEFAULT_CAPABILITIES = ["chat", "code", "review"];
/** What every runner can do for whoever looks after its agent. */
export const LIFECYCLE_CAPABILITIES: readonly string[] = [
  "lifecycle.shutdown.hard",
  "lifecycle.restart.hard",
  "lifecycle.status.semantic",
  "lifecycle.heartbeat",
  "lifecycle.reconnect.transport",
  "commands.lifecycle",
  "capabilities.report",
];
const DRAIN_MS = 20_000;
const STALL_MS = 15 * 60_000;
/** GitHub kills a cancelled job 10 s after its SIGINT. */
const GITHUB_DRAIN_MS = 6_000;
const GITHUB_GRACE_MS = 1_000;
const SHUTDOWN_MS = 10_000;

/** First that is there: flag, environment, file, default. */
function choose<T>(...candidates: (Setting<T> | null)[]): Setting<T> {
  return candidates.find((each) => each !== null)!;
}

function setting<T>(source: Setting<T>["source"], value: T | undefined, where: string): Setting<T> | null {
  return value === undefined ? null : { value, source, where };
}

/** How to reach the relay, for every verb that talks to one. */
export async function resolveRelay(
  input: ConfigInput,
): Promise<{ paths: Paths; relay: RelaySettings; port: Setting<number> }> {
  const paths = resolvePaths(input.env);
  const files = await loadConfigFiles(paths, null, input.env);
  return {
    paths,
    relay: await relaySettings(input, files),
    port: relayPort(files),
  };
}

function relayPort({ config }: ConfigFiles): Setting<number> {
  return choose(setting("file", config.relayPort, "config.json relayPort"), {
    value: DEFAULT_RELAY_PORT,
    source: "default",
  });
}

/** An error of a value, as one of the file that it is from when no flag or variable gave it. */
function asOfFile({ source, where }: Setting<unknown>, error: unknown): unknown {
  if (source !== "file" || !(error instanceof RunnerError)) return error;
  const { message, hint } = error;
  return new RunnerError("E_CONFIG", message, {
    ...(where === undefined ? {} : { where }),
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

async function relaySettings(input: ConfigInput, files: ConfigFiles): Promise<RelaySettings> {
  const { flags, env } = input;
  const url = choose<string | null>(
    setting("flag", textFlag(flags["relay-url"]), "--relay-url"),
    setting("environment", nonEmpty(env.AGENT_RELAY_URL), "AGENT_RELAY_URL"),
    setting("file", files.config.relayUrl, "config.json relayUrl"),
    { value: null, source: "default" },
  );
  if (url.value !== null) {
    try {
      url.value = checkRelayUrl(url.value, {
        insecure: flags["insecure-relay"] === true,
        where: url.where ?? "",
      });
    } catch (error) {
      throw asOfFile(url, error);
    }
  }
  const tokenFile = textFlag(flags["token-file"]);
  if (tokenFile !== undefined && flags["token-stdin"] === true) {
    throw new RunnerError("E_FLAG", "--token-file and --token-stdin exclude each other");
  }
  const token = tokenFile !== undefined
    ? setting("flag", await readTokenFile(resolve(input.cwd, tokenFile)), "--token-file")
    : flags["token-stdin"] === true
    ? setting("flag", checkGivenToken(await input.readStdin(), "--token-stdin"), "--token-stdin")
    : nonEmpty(env.AGENT_RELAY_TOKEN) !== undefined
    ? setting(
      "environment",
      checkGivenToken(env.AGENT_RELAY_TOKEN!, "AGENT_RELAY_TOKEN"),
      "AGENT_RELAY_TOKEN",
    )
    : setting("file", files.config.token, "config.json token");
  return { url, token: token ?? { value: null, source: "default" } };
}

/** Everything a run needs. Nothing is started, nothing is written. */
export async function resolveRun(
  provider: string,
  providerArgs: readonly string[],
  input: ConfigInput,
): Promise<RunSettings> {
  const { flags, env } = input;
  const paths = resolvePaths(env);
  const files = await loadConfigFiles(paths, provider, env);
  const relay = await relaySettings(input, files);
  const providerSettings = settingsOf(provider, files);
  const cwd = await workingDirectory(input, files);
  const label = choose<string | null>(
    setting("flag", textFlag(flags.label), "--label"),
    setting("environment", identifier(env.AGENT_RELAY_LABEL, "AGENT_RELAY_LABEL"), "AGENT_RELAY_LABEL"),
    { value: null, source: "default" },
  );
  const headless = flags.headless === true || flags.once === true || provider === "echo";
  const approval = choose<ApprovalMode>(
    setting("flag", textFlag(flags.approval) as ApprovalMode | undefined, "--approval"),
    providerSettings.defaultApprovalMode,
  );
  const drain = textFlag(flags["drain-timeout"]);
  const stall = textFlag(flags["stall-timeout"]);
  const github = headless && env.GITHUB_ACTIONS === "true";
  const prompt = await readPrompt(input);
  const goal = goalSettings(flags, {
    provider,
    headless,
    hasPrompt: prompt !== null,
    hasRelay: relay.url.value !== null,
  });
  const grace = providerSettings.shutdownTimeoutMs;
  return {
    paths,
    relay,
    port: relayPort(files),
    provider,
    providerSettings,
    approval,
    cwd,
    label,
    agentId: choose<string | null>(setting("flag", textFlag(flags["agent-id"]), "--agent-id"), {
      value: null,
      source: "default",
    }),
    tags: unique([
      provider,
      ...words(env.AGENT_RELAY_TAGS, "AGENT_RELAY_TAGS"),
      ...providerSettings.defaultTags.value,
      ...(headless ? ["headless"] : []),
    ]),
    capabilities: unique([
      ...providerSettings.defaultCapabilities.value,
      ...words(env.AGENT_RELAY_CAPS, "AGENT_RELAY_CAPS"),
      ...LIFECYCLE_CAPABILITIES,
    ]),
    headless,
    goal,
    // A job that brings its work along must not depend on what was said before it.
    conversation: choose(setting("flag", conversationFlag(flags.conversation, provider), "--conversation"), {
      value: goal.once === "prompt" ? "new" : "last",
      source: "default",
    }),
    prompt,
    stopGraceMs: github && grace.source === "default" ? GITHUB_GRACE_MS : grace.value,
    providerArgs: [...providerArgs],
    drainTimeoutMs: choose(
      setting("flag", drain === undefined ? undefined : parseDuration(drain)!, "--drain-timeout"),
      { value: github ? GITHUB_DRAIN_MS : DRAIN_MS, source: "default" },
    ),
    stallTimeoutMs: choose(
      setting("flag", stall === undefined ? undefined : parseDuration(stall)!, "--stall-timeout"),
      // Who sits in front of an agent sees for himself.
      { value: headless ? STALL_MS : 0, source: "default" },
    ),
  };
}

/** `last`, `new` or an id, which becomes part of a path. */
function conversationFlag(flag: string | true | undefined, provider: string): string | undefined {
  const value = textFlag(flag);
  if (value === undefined) return undefined;
  if (provider === "echo") {
    throw new RunnerError("E_FLAG", "--conversation means nothing here: echo has none", {
      hint: "leave it out",
    });
  }
  if (IDENTIFIER.test(value)) return value;
  throw new RunnerError("E_FLAG_VALUE", `"${shown(value)}" is no id of a conversation`, {
    where: "--conversation",
    hint: "it is an id, new, or last",
  });
}

function settingsOf(provider: string, files: ConfigFiles): ProviderSettings {
  const { provider: file, providerFile } = files;
  const from = <T>(key: string, value: T | undefined, preset: T): Setting<T> =>
    value === undefined
      ? { value: preset, source: "default" }
      : { value, source: "file", where: `${providerFile} ${key}` };
  return {
    command: from("command", file.command, provider),
    defaultArgs: from("defaultArgs", file.defaultArgs, []),
    env: from("env", file.env, {}),
    passEnv: from("passEnv", file.passEnv, []),
    pluginDirs: from("pluginDirs", file.pluginDirs, []),
    defaultCapabilities: from("defaultCapabilities", file.defaultCapabilities, DEFAULT_CAPABILITIES),
    defaultApprovalMode: from<ApprovalMode>("defaultApprovalMode", file.defaultApprovalMode, "guarded"),
    defaultTags: from("defaultTags", file.defaultTags, []),
    delivery: from<DeliveryChannel>("delivery", file.delivery, "auto"),
    tmuxPrefix: from("headless.tmuxPrefix", file.headless?.tmuxPrefix, `${provider}-relay`),
    shutdownTimeoutMs: from("headless.shutdownTimeoutMs", file.headless?.shutdownTimeoutMs, SHUTDOWN_MS),
    allowUnsafeEnv: from("allowUnsafeEnv", file.allowUnsafeEnv, false),
  };
}

async function workingDirectory(input: ConfigInput, files: ConfigFiles): Promise<Setting<string>> {
  const given = choose(
    setting("flag", textFlag(input.flags.cwd), "--cwd"),
    setting("file", files.config.defaultCwd, "config.json defaultCwd"),
    { value: input.cwd, source: "default" },
  );
  const path = resolve(input.cwd, given.source === "file" ? inHome(given.value, input.env) : given.value);
  const bad = (what: string) =>
    new RunnerError("E_CWD", `working directory "${shown(given.value)}" ${what}`, {
      ...(given.where === undefined ? {} : { where: given.where }),
    });
  try {
    const info = await Deno.stat(path);
    if (!info.isDirectory) throw bad("is not a directory");
    const real = await Deno.realPath(path);
    await checkEntered(real);
    return { ...given, value: real };
  } catch (error) {
    const known = error instanceof RunnerError
      ? error
      : bad(error instanceof Deno.errors.NotFound ? "does not exist" : "is not accessible");
    throw asOfFile(given, known);
  }
}

/** No shell has read a file: its `~/` is ours to understand. */
function inHome(path: string, env: Readonly<Record<string, string>>): string {
  return /^~(?=\/|$)/.test(path) && env.HOME ? join(env.HOME, path.slice(1)) : path;
}

/**
 * Throws when this user may not enter a directory, as a child has to. Whoever may not is not told of any entry either,
 * also not that there is none of this name. (`dir/.` would do as well, but Deno asks for `dir` then.)
 */
async function checkEntered(dir: string): Promise<void> {
  try {
    await Deno.lstat(join(dir, ".agent-relay-nothing"));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function textFlag(value: string | true | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : value;
}

function identifier(value: string | undefined, where: string): string | undefined {
  if (value === undefined || value === "") return undefined;
  if (!IDENTIFIER.test(value)) throw badName(value, where);
  return value;
}

function words(value: string | undefined, where: string): string[] {
  return (value ?? "").split(",").map((word) => word.trim()).filter((word) => word !== "").map((word) => {
    if (!IDENTIFIER.test(word)) throw badName(word, where);
    return word;
  });
}

function badName(value: string, where: string): RunnerError {
  return new RunnerError("E_NAME", `"${shown(value)}" has characters outside A-Za-z0-9._-, or over 64`, {
    where,
  });
}

function unique(values: string[]): string[] {
  return [...new Set(values)];
}
