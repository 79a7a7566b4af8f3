import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { Finding } from "../../lib/cli/doctor/contract.ts";
import { childrenOf } from "../bench/_proc.ts";
import { processesWith, TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

interface Report {
  ok: boolean;
  findings: (Omit<Finding, "fix"> & { fixable: boolean })[];
  fixed: { check: string; does: string }[];
}

/** A home, and a PATH with agents on it that say what the test chooses. */
async function withHome(work: (place: { home: TestHome; bin: string }) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const bin = join(dir, "bin");
    Deno.mkdirSync(bin);
    await using home = new TestHome(dir, { PATH: `${bin}:/usr/bin:/bin` });
    await work({ home, bin });
  });
}

function install(bin: string, name: string, script: string): void {
  Deno.writeTextFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

async function doctor(home: TestHome, ...args: string[]): Promise<Report & { code: number }> {
  const { code, out, err } = await home.run(["doctor", "--json", ...args]);
  assertEquals(err, "");
  return { code, ...JSON.parse(out) as Report };
}

/** What is not as it should be. */
const wrong = ({ findings }: Report) =>
  findings.filter(({ health, check }) => health !== "ok" && check !== "tmux")
    .map(({ check, health, text }) => `${health} ${check}: ${text}`);

Deno.test("doctor finds everything in order where it is, and says what it looked at", async () => {
  await withHome(async ({ home, bin }) => {
    install(bin, "claude", 'case "$1" in auth) exit 0 ;; *) echo "2.1.330 (Claude Code)" ;; esac');
    install(bin, "codex", 'case "$1" in login) exit 0 ;; *) echo "codex-cli 0.170.0" ;; esac');
    const report = await doctor(home);
    assertEquals([report.code, report.ok, wrong(report)], [0, true, []]);
    const said = Object.fromEntries(report.findings.map(({ check, text }) => [check, text]));
    assertEquals(said.claude, `${bin}/claude 2.1.330`);
    assertEquals(said.codex, `${bin}/codex 0.170.0 (tested with 0.169.0)`);
    assertMatch(said.relay!, /^none is up at \S+; the first agent serves it$/);
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    await home.untilReady("api");
    const busy = await doctor(home);
    assertEquals([busy.code, wrong(busy)], [0, []]);
    assertEquals(busy.findings.find(({ check }) => check === "agents")?.text, "1 agent runs in this home");
    agent.kill("SIGTERM");
    assertEquals(await agent.ended(), 0);
  });
});

Deno.test("doctor names each thing that is not in order, once, with what to do, and ends with 1", async () => {
  await withHome(async ({ home, bin }) => {
    install(bin, "claude", 'case "$1" in auth) exit 1 ;; *) echo "2.1.330 (Claude Code)" ;; esac');
    install(bin, "codex", "exit 3");
    home.provider("claude", { command: "claude" });
    const first = await doctor(home);
    assertEquals([first.code, wrong(first)], [1, [
      "warn claude login: not logged in",
      `fail codex: ${bin}/codex --version ends with code 3`,
    ]]);
    Deno.writeTextFileSync(join(home.home, "config.json"), '{"relayPort":"x"}');
    const broken = await doctor(home);
    assertEquals(broken.code, 1);
    assertEquals(
      wrong(broken).filter((each) => each.includes("relayPort")).length,
      1,
      wrong(broken).join("\n"),
    );
    Deno.removeSync(join(home.home, "config.json"));
    Deno.removeSync(join(bin, "claude"));
    const { code, out } = await home.run(["doctor"]);
    assertEquals(code, 1);
    assertMatch(out, /\nfail {2}claude +"claude" not found on PATH; install it or set command in providers/);
    assertMatch(out, /\n3 failures, \d warnings?\n$/);
  });
});

Deno.test("doctor --fix makes private what others could read, and nothing else", async () => {
  await withHome(async ({ home, bin }) => {
    install(bin, "claude", "echo 2.1.330");
    home.provider("claude", {});
    const open = [home.home, join(home.home, "config.json"), join(home.home, "providers/claude.json")];
    Deno.chmodSync(home.home, 0o755);
    for (const path of open.slice(1)) Deno.chmodSync(path, 0o644);
    const before = await doctor(home);
    assertEquals([before.code, before.findings.filter(({ fixable }) => fixable).length], [1, 3]);
    const after = await doctor(home, "--fix");
    assertEquals(after.fixed.map(({ check }) => check), ["home", "files", "files"]);
    assertEquals([after.code, after.findings.filter(({ fixable }) => fixable)], [0, []]);
    assertEquals(open.map((path) => (Deno.statSync(path).mode! & 0o777).toString(8)), ["700", "600", "600"]);
  });
});

Deno.test("doctor tells an agent that is stopped from one that was killed, and --fix ends what that left behind", async () => {
  await withHome(async ({ home, bin }) => {
    install(bin, "claude", "echo 2.1.330");
    const agent = home.start(["echo", "--headless", "--label", "api"]);
    const { id } = await home.untilReady("api") as { id: string };
    const marker = `AGENT_RELAY_CONTROL_FILE=${home.home}`;
    agent.kill("SIGSTOP");
    const about = async (...args: string[]) =>
      (await doctor(home, ...args)).findings.filter(({ check }) => check === "agent").map(({ text }) => text);
    assertEquals(await about("--fix"), [`${id} does not answer (pid ${agent.pid})`]);
    assertEquals((await processesWith(marker)).length, 1, "what may go on again is left alone");
    agent.kill("SIGCONT");
    // Both at once: nobody is left to clean up.
    const guard = (await childrenOf(agent.pid)).find(({ args }) => args.includes("relay-guard"))!;
    Deno.kill(guard.pid, "SIGSTOP");
    await agent.kill9();
    Deno.kill(guard.pid, "SIGKILL");
    await until("the guard's end", async () => (await childrenOf(1)).every(({ pid }) => pid !== guard.pid));
    const [killed] = await about();
    assertEquals(killed, `${id} was killed; its next start ends what it may have left behind`);
    const report = await doctor(home, "--fix");
    assertEquals(report.fixed.map(({ does }) => does), ["ends what it left behind"]);
    assertEquals(await processesWith(marker), []);
    assertEquals(await about(), []);
  });
});
