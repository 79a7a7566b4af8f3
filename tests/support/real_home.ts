import { join } from "@std/path";
import { mockAnthropic } from "./mock_anthropic.ts";
import type { MockModel } from "./mock_model.ts";
import { mockOpenAi } from "./mock_openai.ts";
import { realClis } from "./real_clis.ts";
import { type Program, TestHome } from "./runner_process.ts";
import { withTempDir } from "./temp.ts";

/** One of the two real agents, with its mock model, in a home of its own. */
export interface RealAgent {
  provider: "claude" | "codex";
  home: TestHome;
  model: MockModel;
  dir: string;
}

/** Runs `work` with a real CLI that talks to a mock model API on the loopback. */
export async function withRealAgent(
  provider: "claude" | "codex",
  work: (agent: RealAgent) => Promise<void>,
  options: { program?: Program; env?: Record<string, string> } = {},
): Promise<void> {
  const clis = await realClis();
  await withTempDir(async (dir) => {
    const model = provider === "claude" ? mockAnthropic() : mockOpenAi();
    try {
      const env = provider === "claude" ? claudeEnv(dir, model.url) : codexEnv(dir, model.url);
      const home = new TestHome(dir, { ...env, ...options.env }, options.program);
      home.provider(provider, { command: clis[provider] });
      await work({ provider, home, model, dir });
    } finally {
      await model.stop();
    }
  });
}

function claudeEnv(dir: string, url: string): Record<string, string> {
  const config = join(dir, "claude");
  Deno.mkdirSync(config);
  Deno.writeTextFileSync(
    join(config, ".claude.json"),
    JSON.stringify({
      hasCompletedOnboarding: true,
      hasSeenAutoDefaultNotice: true,
      projects: { [join(dir, "work")]: { hasTrustDialogAccepted: true } },
    }),
  );
  return {
    CLAUDE_CONFIG_DIR: config,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_AUTH_TOKEN: "mock",
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    DISABLE_AUTOUPDATER: "1",
    DISABLE_TELEMETRY: "1",
    DISABLE_ERROR_REPORTING: "1",
    // Claude refuses bypassPermissions for root outside a sandbox; CI machines run as root.
    IS_SANDBOX: "1",
  };
}

function codexEnv(dir: string, url: string): Record<string, string> {
  const home = join(dir, "codex");
  Deno.mkdirSync(home);
  Deno.writeTextFileSync(
    join(home, "config.toml"),
    `model = "gpt-5.5-codex"
model_provider = "mock"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
apps = false
[model_providers.mock]
name = "Mock"
base_url = "${url}/v1"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 1
stream_max_retries = 1
`,
  );
  return { CODEX_HOME: home };
}
