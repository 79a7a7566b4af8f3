import { IDENTIFIER } from "../protocol/ids.ts";
import { choice, flag, integer, list, object, record, type Rule, type Shaped, text } from "./shape.ts";
import { TOKEN_RULES } from "./token.ts";

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

const filled: Rule<string> = { holds: (value) => value !== "", message: "must not be empty" };
const noNul: Rule<string> = { holds: (value) => !value.includes("\0"), message: "contains a NUL byte" };
const word = text({ holds: (value) => IDENTIFIER.test(value), message: "has 1 to 64 of A-Za-z0-9._-" });
const envName = text(
  { holds: (name) => name !== "", message: "has an empty name" },
  { holds: (name) => name === "" || ENV_NAME.test(name), message: "is not a valid variable name" },
);

/** Names of variables that make a child load foreign code; refused unless `allowUnsafeEnv` says otherwise. */
export const UNSAFE_ENV = /^(?:LD_.*|DYLD_.*|BASH_ENV|ENV|NODE_OPTIONS|PROMPT_COMMAND)$/;

/** `config.json`. */
export const configSchema = object({
  relayUrl: text(),
  relayPort: integer(1, 65_535),
  token: text(...TOKEN_RULES),
  defaultCwd: text(),
});

/** `providers/<name>.json`. */
export const providerSchema = object({
  command: text(filled, noNul),
  defaultArgs: list(text(noNul)),
  env: record(envName, text(noNul)),
  passEnv: list(envName),
  pluginDirs: list(text()),
  defaultCapabilities: list(word),
  defaultApprovalMode: choice("read-only", "guarded", "open"),
  defaultTags: list(word),
  delivery: choice("auto", "socket", "monitor"),
  headless: object({
    tmuxPrefix: word,
    shutdownTimeoutMs: integer(100, 600_000, "must be an integer 100..600000"),
  }),
  allowUnsafeEnv: flag(),
});

/** What a file may say. */
export type ConfigFile = Shaped<typeof configSchema>;
export type ProviderFile = Shaped<typeof providerSchema>;
