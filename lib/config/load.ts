import { basename, join } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";
import { scanJson } from "../base/json_scan.ts";
import { readPrivateFile } from "../base/private_file.ts";
import { nearMisses } from "../base/suggest.ts";
import type { Paths } from "./contract.ts";
import { type ConfigFile, configSchema, type ProviderFile, providerSchema, UNSAFE_ENV } from "./schema.ts";
import type { ShapeProblem } from "./shape.ts";

const FILE_LIMIT = 1024 * 1024;
const ENV_PREFIX = "$env:";

/** What the files say; absent files say nothing. */
export interface ConfigFiles {
  config: ConfigFile;
  provider: ProviderFile;
  /** Name of the provider's file, for `where`. */
  providerFile: string;
}

/**
 * Reads `config.json` and, for a provider, `providers/<name>.json`. Every problem of both files is reported in one
 * error with file, line, column and key. Throws `E_CONFIG`, `E_CONFIG_PERM`; never falls back to defaults.
 */
export async function loadConfigFiles(
  paths: Paths,
  provider: string | null,
  env: Readonly<Record<string, string>>,
): Promise<ConfigFiles> {
  const problems: string[] = [];
  const config = await loadFile(paths.configFile, "config", env, problems);
  const providerPath = join(paths.providersDir, `${provider ?? "none"}.json`);
  const settings = provider === null ? {} : await loadFile(providerPath, "provider", env, problems);
  if (problems.length > 0) {
    const count = problems.length === 1 ? "" : `${problems.length} problems: `;
    throw new RunnerError("E_CONFIG", count + problems.join("; "), {
      where: paths.home,
      hint: "nothing was started",
    });
  }
  return {
    config: config as ConfigFile,
    provider: settings as ProviderFile,
    providerFile: `providers/${basename(providerPath)}`,
  };
}

async function loadFile(
  path: string,
  kind: "config" | "provider",
  env: Readonly<Record<string, string>>,
  problems: string[],
): Promise<unknown> {
  const name = kind === "config" ? basename(path) : `providers/${basename(path)}`;
  const file = await readPrivateFile(path, { maxBytes: FILE_LIMIT, secret: false });
  if (!file.ok) {
    if (file.kind === "missing") return {};
    if (file.kind === "perm") {
      throw new RunnerError("E_CONFIG_PERM", `${name} is ${file.problem}`, {
        where: path,
        hint: `run chmod 600 ${shown(path, 300)}`,
      });
    }
    problems.push(`${name}${file.kind === "io" ? ":" : " is"} ${file.problem}`);
    return {};
  }
  const scanned = scanJson(file.text);
  if (!scanned.ok) {
    const { line, column, message } = scanned.problem;
    const why = file.text.replace(/^\ufeff/, "").trim() === "" ? "top level must be an object" : message;
    problems.push(`${name} line ${line} column ${column}: ${why}`);
    return {};
  }
  const at = (path: string) => {
    const place = scanned.places.get(path);
    return `${name}${place === undefined ? "" : ` line ${place.line} column ${place.column}`}`;
  };
  if (typeof scanned.value !== "object" || scanned.value === null || Array.isArray(scanned.value)) {
    problems.push(`${at("")}: top level must be an object`);
    return {};
  }
  const wrong: ShapeProblem[] = [];
  (kind === "config" ? configSchema : providerSchema)(scanned.value, "", wrong);
  if (wrong.length > 0) {
    for (const { path, message, known } of wrong) {
      const key = path.split(".").at(-1)!;
      const [near] = known === undefined ? [] : nearMisses(key, known, 1);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      problems.push(
        `${at(path)}: ${
          known === undefined ? `${shown(path)} ${message}` : `unknown key ${shown(path)}${hint}`
        }`,
      );
    }
    return {};
  }
  const before = problems.length;
  const resolved = resolveEnv(
    scanned.value,
    env,
    (path, message) => problems.push(`${at(path)}: ${message}`),
  );
  if (kind === "provider") checkUnsafe(resolved as ProviderFile, UNSAFE_ENV, at, problems);
  return problems.length > before ? {} : resolved;
}

/** Replaces `$env:NAME` texts by the variable's value; a variable that is not set is a problem, not an empty text. */
function resolveEnv(
  value: unknown,
  env: Readonly<Record<string, string>>,
  problem: (path: string, message: string) => void,
  path = "",
): unknown {
  if (typeof value === "string" && value.startsWith(ENV_PREFIX)) {
    const name = value.slice(ENV_PREFIX.length);
    if (env[name] === undefined) {
      problem(path, `env ${shown(name)} is not set (needed by ${shown(path)})`);
      return "";
    }
    return env[name];
  }
  if (Array.isArray(value)) return value.map((item, i) => resolveEnv(item, env, problem, `${path}[${i}]`));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        resolveEnv(item, env, problem, path === "" ? key : `${path}.${key}`),
      ]),
    );
  }
  return value;
}

function checkUnsafe(
  provider: ProviderFile,
  unsafe: RegExp,
  at: (path: string) => string,
  problems: string[],
): void {
  if (provider.allowUnsafeEnv === true) return;
  for (const name of Object.keys(provider.env ?? {})) {
    if (unsafe.test(name)) {
      problems.push(`${at(`env.${name}`)}: env name ${name} not allowed; set allowUnsafeEnv to allow it`);
    }
  }
}
