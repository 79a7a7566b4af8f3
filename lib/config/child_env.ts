/** Variables a headless agent gets from its parent; everything else is left out (S-8). */
const HEADLESS = new Set([
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "TERM",
  "COLORTERM",
  "TZ",
  "TMPDIR",
  "SSH_AUTH_SOCK",
  "NODE_EXTRA_CA_CERTS",
  "IS_SANDBOX",
]);
const HEADLESS_PREFIXES = [
  "LC_",
  "XDG_",
  "SSL_CERT_",
  "DISABLE_",
  "AWS_",
  "GOOGLE_",
  "ANTHROPIC_",
  "CLAUDE_",
  "OPENAI_",
  "CODEX_",
];
/** Windows programs do not start without these. */
const WINDOWS = [
  "SystemRoot",
  "SYSTEMROOT",
  "COMSPEC",
  "PATHEXT",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "TEMP",
  "TMP",
];

/** Markers of an agent session that this process may itself run in. */
const SESSION =
  /^(?:CLAUDECODE|CLAUDE_CODE_(?:ENTRYPOINT|SESSION_ID|SSE_PORT|CHILD_SESSION|EXECPATH)|CODEX_(?:SANDBOX.*|THREAD_ID|SESSION_ID|CI))$/;

/** What the environment of a provider is made of. */
export interface ChildEnvInput {
  parent: Readonly<Record<string, string>>;
  headless: boolean;
  /** Further names a headless agent may inherit. */
  passEnv: readonly string[];
  /** From the provider's file. */
  configured: Readonly<Record<string, string>>;
  /** AGENT_RELAY_* of this run. */
  run: Readonly<Record<string, string>>;
  /** Values that must not reach the child, whatever their name. */
  secrets: readonly string[];
}

/** Returns the complete environment of a provider. The relay's token is never in it. */
export function childEnv(input: ChildEnvInput): Record<string, string> {
  const { parent, headless } = input;
  const pass = new Set(input.passEnv);
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(parent)) {
    if (name.startsWith("AGENT_RELAY_") || SESSION.test(name)) continue;
    if (input.secrets.some((secret) => secret !== "" && value.includes(secret))) continue;
    if (!headless || pass.has(name) || inherited(name)) result[name] = value;
  }
  Object.assign(result, input.configured, input.run);
  // Hooks and the app-server link are on the loopback; a proxy must not see them.
  for (const name of ["NO_PROXY", "no_proxy"]) {
    const parts = (result[name] ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "");
    result[name] = [...new Set([...parts, "127.0.0.1", "localhost"])].join(",");
  }
  return result;
}

function inherited(name: string): boolean {
  return HEADLESS.has(name) || HEADLESS_PREFIXES.some((prefix) => name.startsWith(prefix)) ||
    /^(?:https?|all|no|ftp)_proxy$/i.test(name) ||
    (Deno.build.os === "windows" && WINDOWS.includes(name));
}
