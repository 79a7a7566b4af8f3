import { join } from "@std/path";
import { systemClock } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import { createLogger, humanLine } from "../../base/logger.ts";
import { createRedactor } from "../../base/redact.ts";
import { RelayHttpClient } from "agent-relay-sdk";
import { resolveRun } from "../../config/resolve.ts";
import { ownRelayToken } from "../../config/token.ts";
import type { Receipt, StageReport } from "../../protocol/message.ts";
import type { Verb } from "../contract.ts";
import { startSession } from "../run/session.ts";
import { Watchers } from "../run/watchers.ts";
import { trapSignals } from "../run/signals.ts";
import { styleFor } from "../style.ts";
import { waitForReceipt } from "../wait.ts";

const TEXT = "Hello, agent. Are you there?";
const TIMEOUT_MS = 15_000;
/** What every delivery has to show, in this order. */
const STAGES = ["received", "handed", "placed", "seen", "done", "acked"];

/**
 * Shows one message on its whole way: an embedded relay, the echo agent as a real child process, every stage with
 * its evidence and time, the answer, and a clean end. Uses a temporary home and a free port.
 */
export const run: Verb = async ({ flags }, io) => {
  const json = flags.json === true;
  const say = (text: string) => json ? undefined : io.out(text);
  const style = styleFor(io.color);
  const home = await Deno.makeTempDir({ prefix: "runner-demo-" });
  const redactor = createRedactor();
  const log = createLogger({
    level: "warn",
    clock: systemClock,
    redactor,
    sinks: [(line) => io.err(humanLine(line))],
  });
  const signals = trapSignals();
  const began = systemClock.mono();
  try {
    const env = { ...io.env, AGENT_RELAY_HOME: home };
    for (const name of ["AGENT_RELAY_URL", "AGENT_RELAY_TOKEN", "AGENT_RELAY_LABEL"] as const) {
      delete (env as Record<string, string>)[name];
    }
    const settings = await resolveRun("echo", [], {
      flags: { label: "demo" },
      env,
      cwd: home,
      readStdin: () => Promise.resolve(""),
    });
    settings.port = freePort();
    const watchers = new Watchers("echo", redactor);
    const session = await startSession(settings, {
      clock: systemClock,
      random: Math.random,
      log,
      redactor,
      env,
      follow: watchers,
      watch: watchers.door,
      placed() {},
      remoteLifecycle: true,
      terminal: null,
    });
    signals.connect((signal) => session.signal(signal));
    const relayUrl = session.relayUrl!;
    say(`relay    ${relayUrl} (in this process)\n`);
    const token = await ownRelayToken(join(home, "relay.token"));
    const http = new RelayHttpClient({ url: relayUrl, token });
    await untilReady(http, session.agentId, began);
    say(`agent    ${session.agentId} (a child process), label:demo\n`);
    const sent = await http.send({
      from: "demo-user",
      to: "label:demo",
      body: TEXT,
      replyExpected: true,
      idempotencyKey: crypto.randomUUID(),
    });
    if (!sent.ok) throw new RunnerError("E_NOT_DELIVERED", `the demo message was refused: ${sent.message}`);
    const { message } = sent.value;
    say(`message  ${message.id} "${TEXT}"\n\n`);
    const wait = { until: null, reply: true, timeoutMs: TIMEOUT_MS };
    const common = { http, url: relayUrl, messageId: message.id, clock: systemClock };
    const { reply } = await waitForReceipt({ ...common, wait, onChange: () => {} });
    const { receipt } = await waitForReceipt({
      ...common,
      wait: { ...wait, until: "acked", reply: false },
      onChange: () => {},
    });
    const reports = stagesOf(receipt);
    for (const report of reports) {
      const after = `+${report.at - message.createdAt} ms`.padStart(9);
      say(`  ${style.green(report.stage.padEnd(9))}${after}  ${report.evidence ?? ""}\n`);
    }
    say(`\nanswer   ${reply!.body}\n`);
    const missing = STAGES.filter((stage) => !reports.some((report) => report.stage === stage));
    if (missing.length > 0) throw new RunnerError("E_NOT_DELIVERED", `no evidence for ${missing.join(", ")}`);
    session.signal("SIGTERM");
    await session.ended;
    const tookMs = Math.round(systemClock.mono() - began);
    say(`done     everything stopped, ${(tookMs / 1000).toFixed(1)} s in all\n`);
    if (json) io.out(JSON.stringify({ message, stages: reports, answer: reply!.body, tookMs }) + "\n");
    return 0;
  } finally {
    signals.dispose();
    await Deno.remove(home, { recursive: true });
  }
};

function stagesOf(receipt: Receipt): StageReport[] {
  return receipt.recipients.flatMap(({ reports }) => reports);
}

async function untilReady(http: RelayHttpClient, agentId: string, began: number): Promise<void> {
  for (;;) {
    const card = await http.getAgent(agentId);
    if (card.ok && card.value.ready) return;
    if (systemClock.mono() - began > TIMEOUT_MS) {
      throw new RunnerError("E_TIMEOUT", "the echo agent did not start");
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}
