import { shown } from "../../base/errors.ts";
import { childEnv } from "../../config/child_env.ts";
import { resolveCommand } from "../../config/command_path.ts";
import type { RunSettings } from "../../config/contract.ts";
import { resolveRun } from "../../config/resolve.ts";
import { ask } from "../../process/ask.ts";
import type { Check, DoctorDeps, Finding } from "./contract.ts";
import { told } from "./told.ts";

/** A program with a runtime to start may need this long on a slow machine. */
const PROBE_MS = 15_000;

/** How to ask an agent whether it is logged in, and the version that this program was tested with. */
interface Probe {
  tested: string;
  login: readonly string[];
  howTo: string;
}

const PROBES: Readonly<Record<"claude" | "codex", Probe>> = {
  claude: { tested: "2.1.330", login: ["auth", "status"], howTo: "run: claude auth login" },
  codex: {
    tested: "0.169.0",
    login: ["login", "status"],
    howTo: "run: codex login; a model provider of your own needs none",
  },
};

/** Configuration and programs of the agents. An agent that is not installed is no fault: most people use one. */
export const checkProviders: Check = async (deps) => {
  const found = await Promise.all(
    (["claude", "codex"] as const).map((provider) => checkProvider(provider, deps)),
  );
  const all = found.flat();
  if (all.some(({ check, health }) => check in PROBES && health === "ok")) return all;
  return [...all, {
    check: "providers",
    health: "fail",
    text: "no agent can be started here",
    hint: "install Claude Code or Codex; runner echo needs neither",
  }];
};

async function checkProvider(provider: "claude" | "codex", deps: DoctorDeps): Promise<Finding[]> {
  const { io, clock } = deps;
  let settings: RunSettings;
  try {
    settings = await resolveRun(provider, [], {
      flags: {},
      env: io.env,
      cwd: io.cwd,
      readStdin: () => Promise.resolve(""),
    });
  } catch (error) {
    return [{ check: provider, health: "fail", ...told(error) }];
  }
  const { providerSettings, cwd } = settings;
  let command: string;
  try {
    command = resolveCommand(providerSettings.command.value, { cwd: cwd.value, path: io.env.PATH, provider });
  } catch (error) {
    const configured = providerSettings.command.source !== "default";
    return [{ check: provider, health: configured ? "fail" : "warn", ...told(error) }];
  }
  const env = childEnv({
    parent: io.env,
    headless: false,
    passEnv: [],
    configured: providerSettings.env.value,
    run: {},
    secrets: [settings.relay.token.value ?? ""],
  });
  const options = { clock, timeoutMs: PROBE_MS, cwd: cwd.value, env };
  const { tested, login, howTo } = PROBES[provider];
  // One after the other: both are slow to start, and the first says whether the second makes sense.
  const version = await ask(command, ["--version"], options);
  const where = shown(command, 200);
  if (version.state !== "ended" || version.code !== 0) {
    const why = version.state === "ended" ? `ends with code ${version.code}` : "does not answer";
    return [{
      check: provider,
      health: "fail",
      text: `${where} --version ${why}`,
      hint: `see: ${where} --version`,
    }];
  }
  const has = /\d+\.\d+\.\d+/.exec(version.out)?.[0] ?? "of an unknown version";
  const findings: Finding[] = [{
    check: provider,
    health: "ok",
    text: `${where} ${has}${has === tested ? "" : ` (tested with ${tested})`}`,
  }];
  const logged = await ask(command, login, options);
  // A version that does not know the question says nothing about the answer.
  if (logged.state !== "ended" || /unrecognized|unknown (?:option|command)/i.test(logged.err)) {
    return findings;
  }
  findings.push(
    logged.code === 0
      ? { check: `${provider} login`, health: "ok", text: "logged in" }
      : { check: `${provider} login`, health: "warn", text: "not logged in", hint: howTo },
  );
  return findings;
}

/** tmux, which only `--detach` and `attach` need. */
export const checkTmux: Check = async ({ clock }) => {
  const answer = await ask("tmux", ["-V"], { clock, timeoutMs: PROBE_MS });
  if (answer.state === "ended" && answer.code === 0) {
    return [{ check: "tmux", health: "ok", text: shown(answer.out.trim()) }];
  }
  return [{ check: "tmux", health: "warn", text: "not found", hint: "--detach and attach need it" }];
};
