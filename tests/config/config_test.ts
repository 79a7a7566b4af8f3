import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import { RunnerError } from "../../lib/base/errors.ts";
import { childEnv } from "../../lib/config/child_env.ts";
import { newRunnerId, slotId, slug, stableAgentId } from "../../lib/config/identity.ts";
import { checkRelayUrl } from "../../lib/config/relay_url.ts";
import { resolveRelay, resolveRun } from "../../lib/config/resolve.ts";
import { ownRelayToken } from "../../lib/config/token.ts";
import { IDENTIFIER } from "../../lib/protocol/ids.ts";
import { withTempDir } from "../support/temp.ts";

interface Place {
  home: string;
  cwd: string;
  file(name: string, value: unknown): void;
}

async function withHome(work: (place: Place) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const home = join(dir, "home");
    Deno.mkdirSync(join(home, "providers"), { recursive: true, mode: 0o700 });
    await work({
      home,
      cwd: dir,
      file: (name, value) => Deno.writeTextFileSync(join(home, name), JSON.stringify(value), { mode: 0o600 }),
    });
  });
}

const input = (
  place: Place,
  flags: Record<string, string | true> = {},
  env: Record<string, string> = {},
) => ({
  flags,
  env: { AGENT_RELAY_HOME: place.home, ...env },
  cwd: place.cwd,
  readStdin: () => Promise.resolve("token-from-stdin\n"),
});

Deno.test("a flag wins over the environment, the environment over a file, a file over the default, and each says so", async () => {
  await withHome(async (place) => {
    const url = async (flags: Record<string, string | true>, env: Record<string, string>) => {
      const { relay } = await resolveRelay(input(place, flags, env));
      return [relay.url.value, relay.url.source];
    };
    const env = { AGENT_RELAY_URL: "http://127.0.0.1:2" };
    assertEquals(await url({}, {}), [null, "default"]);
    place.file("config.json", { relayUrl: "http://127.0.0.1:1/" });
    assertEquals(await url({}, {}), ["http://127.0.0.1:1", "file"]);
    assertEquals(await url({}, env), ["http://127.0.0.1:2", "environment"]);
    assertEquals(await url({ "relay-url": "https://h/base/" }, env), ["https://h/base", "flag"]);
    const { relay } = await resolveRelay(
      input(place, { "token-stdin": true }, { AGENT_RELAY_TOKEN: "from-env" }),
    );
    assertEquals([relay.token.value, relay.token.source], ["token-from-stdin", "flag"]);
  });
});

Deno.test("every problem of both files is reported at once with file, line, column and key", async () => {
  await withHome(async (place) => {
    Deno.writeTextFileSync(join(place.home, "config.json"), '{\n  "relayURL": 1,\n  "token": 5\n}', {
      mode: 0o600,
    });
    place.file("providers/claude.json", { defaultApprovalMode: "yolo", env: { PORT: 8080 } });
    const error = await assertRejects(() => resolveRun("claude", [], input(place)), RunnerError);
    assertEquals(error.code, "E_CONFIG");
    assertMatch(error.message, /^4 problems: /);
    assertStringIncludes(
      error.message,
      "config.json line 2 column 15: unknown key relayURL; did you mean relayUrl?",
    );
    assertStringIncludes(error.message, "config.json line 3 column 12: token must be a string, got number");
    assertMatch(
      error.message,
      /claude\.json line 1 column \d+: defaultApprovalMode must be one of read-only, guarded, open/,
    );
    assertMatch(error.message, /env\.PORT must be a string, got number/);
  });
});

Deno.test("a run's tags and capabilities come from provider, environment and file, and no mode bypasses by default", async () => {
  await withHome(async (place) => {
    place.file("providers/codex.json", { defaultTags: ["team-a"], defaultCapabilities: ["deploy"] });
    const env = { AGENT_RELAY_TAGS: "x, y", AGENT_RELAY_CAPS: "extra", AGENT_RELAY_LABEL: "ci" };
    const settings = await resolveRun("codex", ["-m", "m"], input(place, { headless: true }, env));
    assertEquals(settings.tags, ["codex", "x", "y", "team-a", "headless"]);
    assertEquals(settings.capabilities.slice(0, 2), ["deploy", "extra"]);
    assert(settings.capabilities.includes("commands.lifecycle"));
    assertEquals([settings.label.value, settings.approval.value], ["ci", "guarded"]);
    assertEquals([settings.providerSettings.command.value, settings.providerArgs], ["codex", ["-m", "m"]]);
    const github = await resolveRun(
      "codex",
      [],
      input(place, { headless: true }, { GITHUB_ACTIONS: "true" }),
    );
    assertEquals([settings.drainTimeoutMs.value, github.drainTimeoutMs.value], [20_000, 6_000]);
    const bad = await assertRejects(
      () => resolveRun("codex", [], input(place, {}, { AGENT_RELAY_TAGS: "a b" })),
      RunnerError,
    );
    assertEquals(bad.code, "E_NAME");
  });
});

Deno.test("$env: values are resolved, and the relay's token is made once however many ask", async () => {
  await withHome(async (place) => {
    place.file("config.json", { token: "$env:MY_TOKEN" });
    const { relay } = await resolveRelay(input(place, {}, { MY_TOKEN: "resolved-token" }));
    assertEquals(relay.token.value, "resolved-token");
    const path = join(place.home, "relay.token");
    const tokens = await Promise.all(Array.from({ length: 20 }, () => ownRelayToken(path)));
    assertEquals(new Set(tokens).size, 1);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  });
});

Deno.test("agent ids are stable, identifiers, fit 64 characters with a slot, and differ by directory", () => {
  const base = { host: "My.Host.example", provider: "claude", label: null, cwd: "/home/u/Mein Projekt" };
  assertMatch(stableAgentId(base), /^my-claude-mein-projekt-[0-9a-f]{4}$/);
  assertEquals(stableAgentId(base), stableAgentId(base));
  assert(stableAgentId(base) !== stableAgentId({ ...base, cwd: "/tmp/Mein Projekt" }));
  const long = { ...base, host: "h".repeat(200), label: "l".repeat(64) };
  for (
    const id of [
      slotId(stableAgentId(long), 99),
      newRunnerId(long),
      stableAgentId({ ...base, host: "", cwd: "/" }),
    ]
  ) {
    assertMatch(id, IDENTIFIER);
  }
  assertEquals(new Set(Array.from({ length: 20 }, () => newRunnerId(base))).size, 20);
  assertEquals(slug("  Ünïcode & Co!  "), "u-ni-code-co");
});

Deno.test("a headless agent inherits the allow-list only, and nobody inherits the token or a parent's identity", () => {
  const parent: Record<string, string> = {
    PATH: "/bin",
    HOME: "/h",
    LC_ALL: "C",
    HTTPS_PROXY: "http://p",
    ANTHROPIC_API_KEY: "k",
    AGENT_RELAY_TOKEN: "the-token",
    AGENT_RELAY_ID: "parent",
    CLAUDECODE: "1",
    CODEX_THREAD_ID: "t",
    LEAK: "contains the-token inside",
    PASSED: "yes",
    NO_PROXY: "internal",
  };
  for (let i = 0; i < 200; i++) parent[`RANDOM_${i}`] = String(i);
  const common = {
    parent,
    passEnv: ["PASSED", "LEAK"],
    configured: { OWN: "1" },
    run: { AGENT_RELAY_ID: "me" },
    secrets: ["the-token"],
  };
  assertEquals(childEnv({ ...common, headless: true }), {
    PATH: "/bin",
    HOME: "/h",
    LC_ALL: "C",
    HTTPS_PROXY: "http://p",
    ANTHROPIC_API_KEY: "k",
    PASSED: "yes",
    OWN: "1",
    AGENT_RELAY_ID: "me",
    NO_PROXY: "internal,127.0.0.1,localhost",
    no_proxy: "127.0.0.1,localhost",
  });
  const interactive = childEnv({ ...common, headless: false });
  assertEquals([interactive.RANDOM_7, interactive.AGENT_RELAY_ID], ["7", "me"]);
  for (const name of ["AGENT_RELAY_TOKEN", "CLAUDECODE", "CODEX_THREAD_ID", "LEAK"]) {
    assertEquals(interactive[name], undefined, name);
  }
});

Deno.test("the goal of a run follows from its flags: a job with a prompt needs no relay, one without waits 60 s for it", async () => {
  await withHome(async (place) => {
    const goal = async (flags: Record<string, string | true>, env: Record<string, string> = {}) => {
      const { goal, headless } = await resolveRun("echo", [], input(place, flags, env));
      return { ...goal, headless };
    };
    const none = { exitOnIdleMs: null, maxTurns: null, maxTimeMs: null, maxCostUsd: null, headless: true };
    const prompt = { once: true, prompt: "x" } as const;
    const url = { AGENT_RELAY_URL: "http://127.0.0.1:2" };
    assertEquals(await goal({}), { ...none, once: null, bus: true, connectTimeoutMs: null });
    assertEquals(await goal(prompt), { ...none, once: "prompt", bus: false, connectTimeoutMs: null });
    assertEquals(await goal(prompt, url), { ...none, once: "prompt", bus: true, connectTimeoutMs: null });
    assertEquals((await goal({ ...prompt, "no-relay": true }, url)).bus, false);
    assertEquals(await goal({ ...prompt, "connect-timeout": "2s" }), {
      ...none,
      once: "prompt",
      bus: true,
      connectTimeoutMs: 2_000,
    });
    assertEquals(await goal({ once: true }), {
      ...none,
      once: "message",
      bus: true,
      connectTimeoutMs: 60_000,
    });
    const conversation = async (flags: Record<string, string | true>) => {
      const { conversation: { value, source } } = await resolveRun("codex", [], input(place, flags));
      return `${value} (${source})`;
    };
    assertEquals(await conversation({}), "last (default)");
    assertEquals(await conversation({ once: true }), "last (default)");
    assertEquals(await conversation(prompt), "new (default)");
    assertEquals(await conversation({ ...prompt, conversation: "last" }), "last (flag)");
    await assertRejects(
      () => resolveRun("echo", [], input(place, { conversation: "x" })),
      RunnerError,
      "none",
    );
    await assertRejects(() => conversation({ conversation: "../../x" }), RunnerError, '"../../x" is no id');
    const limits = { "max-turns": "3", "max-time": "1m", "max-cost": "2.50", "exit-on-idle": "5s" };
    const { maxTurns, maxTimeMs, maxCostUsd, exitOnIdleMs } = await goal(limits);
    assertEquals([maxTurns, maxTimeMs, maxCostUsd, exitOnIdleMs], [3, 60_000, 2.5, 5_000]);
    const fromStdin = await resolveRun("echo", [], input(place, { prompt: "-" }));
    assertEquals(fromStdin.prompt, "token-from-stdin\n");
    assertEquals(
      (await resolveRun("claude", [], input(place, prompt))).headless,
      true,
      "--once needs no terminal",
    );
  });
});

Deno.test("a cancelled job of GitHub has 10 s, so drain and grace are shorter there, unless somebody said otherwise", async () => {
  await withHome(async (place) => {
    const times = async (flags: Record<string, string | true>, env: Record<string, string>) => {
      const { drainTimeoutMs, stopGraceMs } = await resolveRun("claude", [], input(place, flags, env));
      return [drainTimeoutMs.value, stopGraceMs];
    };
    const github = { GITHUB_ACTIONS: "true" };
    assertEquals(await times({ headless: true }, {}), [20_000, 10_000]);
    assertEquals(await times({ headless: true }, github), [6_000, 1_000]);
    assertEquals(await times({}, github), [20_000, 10_000], "a person's terminal is no job");
    place.file("providers/claude.json", { headless: { shutdownTimeoutMs: 3_000 } });
    assertEquals(await times({ headless: true, "drain-timeout": "1s" }, github), [1_000, 3_000]);
  });
});

Deno.test("a relay URL that is refused is named without what may be a password in it", () => {
  const secret = "canary";
  for (
    const url of [
      `https://u:${secret}@h`,
      `https://u:se/${secret}@h:99999`,
      `https://u:p@${secret}@h`,
      `https://${secret}@h`,
      `gopher://u:${secret}@h/x`,
      `${secret}@h`,
    ]
  ) {
    const error = assertThrows(
      () => checkRelayUrl(url, { insecure: false, where: "--relay-url" }),
      RunnerError,
    );
    assertEquals(error.message.includes(secret), false, error.message);
  }
});

Deno.test("defaultCwd may begin with ~/, and each setting says its place in the file", async () => {
  await withHome(async (place) => {
    Deno.mkdirSync(join(place.cwd, "work"));
    place.file("config.json", { defaultCwd: "~/work", relayPort: 4850 });
    const { cwd, port } = await resolveRun("echo", [], input(place, {}, { HOME: place.cwd }));
    assertEquals(cwd, { value: join(place.cwd, "work"), source: "file", where: "config.json defaultCwd" });
    assertEquals(port, { value: 4850, source: "file", where: "config.json relayPort" });
  });
});
