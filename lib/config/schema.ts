import * as v from "valibot";
import { IDENTIFIER } from "../protocol/ids.ts";

const text = v.string();
const word = v.pipe(text, v.regex(IDENTIFIER, "has 1 to 64 of A-Za-z0-9._-"));
const words = v.array(word);
const noNul = v.check<string, string>((value) => !value.includes("\0"), "contains a NUL byte");

/** Names of variables that make a child load foreign code; refused unless `allowUnsafeEnv` says otherwise. */
export const UNSAFE_ENV = /^(?:LD_.*|DYLD_.*|BASH_ENV|ENV|NODE_OPTIONS|PROMPT_COMMAND)$/;
const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

const envName = v.pipe(
  text,
  v.check((name) => name !== "", "has an empty name"),
  v.check((name) => name === "" || ENV_NAME.test(name), "is not a valid variable name"),
);

/** `config.json`. */
export const configSchema = v.strictObject({
  relayUrl: v.optional(text),
  relayPort: v.optional(
    v.pipe(
      v.number(),
      v.check((port) => Number.isInteger(port) && port >= 1 && port <= 65_535, "must be an integer 1..65535"),
    ),
  ),
  token: v.optional(v.pipe(text, v.minLength(1, "must not be empty"))),
  defaultCwd: v.optional(text),
});

/** `providers/<name>.json`. */
export const providerSchema = v.strictObject({
  command: v.optional(v.pipe(text, v.minLength(1, "must not be empty"), noNul)),
  defaultArgs: v.optional(v.array(v.pipe(text, noNul))),
  env: v.optional(v.record(envName, v.pipe(text, noNul))),
  passEnv: v.optional(v.array(envName)),
  pluginDirs: v.optional(v.array(text)),
  defaultCapabilities: v.optional(words),
  defaultApprovalMode: v.optional(v.picklist(["read-only", "guarded", "open"])),
  defaultTags: v.optional(words),
  delivery: v.optional(v.picklist(["auto", "socket", "monitor"])),
  headless: v.optional(v.strictObject({
    tmuxPrefix: v.optional(word),
    shutdownTimeoutMs: v.optional(
      v.pipe(
        v.number("must be an integer 100..600000"),
        v.check((ms) => Number.isInteger(ms) && ms >= 100 && ms <= 600_000, "must be an integer 100..600000"),
      ),
    ),
  })),
  allowUnsafeEnv: v.optional(v.boolean()),
});

/** What a file may say. */
export type ConfigFile = v.InferOutput<typeof configSchema>;
export type ProviderFile = v.InferOutput<typeof providerSchema>;

/** One thing wrong with a value: its path (`env.PORT`), and a clause. */
export interface SchemaProblem {
  path: string;
  message: string;
  /** For an unknown key: the keys that are known there. */
  known?: string[];
}

/** Checks a value; every problem is reported, not only the first. */
export function checkSchema<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
): { ok: true; value: T } | { ok: false; problems: SchemaProblem[] } {
  const result = v.safeParse(schema, value);
  if (result.success) return { ok: true, value: result.output };
  return {
    ok: false,
    problems: result.issues.map((issue) => {
      const path = pathOf(issue.path ?? []);
      if (issue.type === "strict_object" && issue.expected === "never") {
        const at = issue.path!.slice(0, -1).map((item) => String(item.key));
        return { path, message: "unknown key", known: knownKeys(schema, at) };
      }
      if (issue.kind === "schema" && issue.message.startsWith("Invalid")) {
        const expected = issue.type === "picklist"
          ? `one of ${issue.expected?.replaceAll('"', "").replaceAll(" | ", ", ").replace(/[()]/g, "")}`
          : article(issue.type);
        return { path, message: `must be ${expected}, got ${kindOf(issue.input)}` };
      }
      return { path, message: issue.message };
    }),
  };
}

function pathOf(path: readonly { key: unknown }[]): string {
  return path.map(({ key }, i) => typeof key === "number" ? `[${key}]` : (i === 0 ? "" : ".") + String(key))
    .join("");
}

function knownKeys(schema: unknown, path: string[]): string[] {
  let at = schema as { entries?: Record<string, unknown>; wrapped?: unknown };
  for (const key of path) {
    let next = at.entries?.[key] as { wrapped?: unknown } | undefined;
    while (next?.wrapped !== undefined) next = next.wrapped as { wrapped?: unknown };
    if (next === undefined) return [];
    at = next as typeof at;
  }
  return Object.keys(at.entries ?? {});
}

function article(type: string): string {
  const name = type === "strict_object" || type === "record" ? "object" : type === "array" ? "list" : type;
  return /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  return typeof value === "string" ? `"${value.slice(0, 40)}"` : typeof value;
}
