import { RunnerError, shown } from "../../base/errors.ts";
import { createRedactor, looksSecret } from "../../base/redact.ts";
import type { Setting } from "../../config/contract.ts";
import { resolveRun } from "../../config/resolve.ts";
import type { Verb } from "../contract.ts";
import { styleFor } from "../style.ts";
import { PROVIDERS } from "../table.ts";
import { columns } from "../table_text.ts";

const MASK = "********";
/** Settings that the provider's file has under another key. */
const KEY_IN_FILE: Readonly<Record<string, string>> = {
  tmuxPrefix: "headless.tmuxPrefix",
  shutdownTimeoutMs: "headless.shutdownTimeoutMs",
};

/** Shows every setting of a run with its value and where it comes from; secrets are masked. */
export const run: Verb = async ({ flags, positionals }, io) => {
  const provider = positionals[0] ?? "claude";
  if (!(PROVIDERS as readonly string[]).includes(provider)) {
    throw new RunnerError("E_PROVIDER", `unknown provider "${shown(provider)}"`, {
      hint: `providers are ${PROVIDERS.join(", ")}`,
    });
  }
  const settings = await resolveRun(provider, [], {
    flags,
    env: io.env,
    cwd: io.cwd,
    readStdin: () => io.readStdin(),
  });
  const { relay, providerSettings, paths } = settings;
  const redactor = createRedactor();
  redactor.add(relay.token.value);
  const clean = (text: string) => redactor.redact(text);
  /** Also the parts of lists and objects: any of them may be a URL with a password. */
  const cleaned = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value), (_key, part: unknown) => typeof part === "string" ? clean(part) : part);
  const rows: { key: string; setting: Setting<unknown> }[] = [
    {
      key: "home",
      setting: { value: paths.home, source: io.env.AGENT_RELAY_HOME ? "environment" : "default" },
    },
    { key: "relayUrl", setting: relay.url },
    { key: "relayPort", setting: settings.port },
    { key: "token", setting: { ...relay.token, value: relay.token.value === null ? null : MASK } },
    { key: "cwd", setting: settings.cwd },
    { key: "label", setting: settings.label },
    { key: "approval", setting: settings.approval },
    { key: "conversation", setting: settings.conversation },
    { key: "drainTimeoutMs", setting: settings.drainTimeoutMs },
    { key: "stallTimeoutMs", setting: settings.stallTimeoutMs },
    ...Object.entries(providerSettings).map(([name, setting]) => ({
      key: `${provider}.${KEY_IN_FILE[name] ?? name}`,
      setting: name === "env"
        ? maskEnv(setting as Setting<Record<string, string>>)
        : setting as Setting<unknown>,
    })),
  ];
  if (flags.json === true) {
    const entries = rows.map(({ key, setting: { value, source, where } }) => [
      key,
      { value: cleaned(value), source, where: source === "default" ? null : where ?? null },
    ]);
    io.out(JSON.stringify({ provider, settings: Object.fromEntries(entries) }) + "\n");
    return 0;
  }
  const style = styleFor(io.color);
  io.out(columns([
    ["SETTING", "VALUE", "FROM"].map(style.dim),
    ...rows.map(({ key, setting: { value, source, where } }) => [
      key,
      shown(typeof value === "string" ? clean(value) : JSON.stringify(cleaned(value)), 60),
      source === "default" || where === undefined ? source : `${source}: ${where}`,
    ]),
  ]));
  return 0;
};

function maskEnv(setting: Setting<Record<string, string>>): Setting<Record<string, string>> {
  const value = Object.fromEntries(
    Object.entries(setting.value).map(([name, text]) => [name, looksSecret(name) ? MASK : text]),
  );
  return { ...setting, value };
}
