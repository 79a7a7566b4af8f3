import { join } from "@std/path";
import { systemClock } from "../../base/clock.ts";
import { RunnerError } from "../../base/errors.ts";
import { createLogger, humanLine } from "../../base/logger.ts";
import { createRedactor } from "../../base/redact.ts";
import { RelayHttpClient } from "agent-relay-sdk";
import { resolveRun } from "../../config/resolve.ts";
import { ownRelayToken } from "../../config/token.ts";
import type { Message, Receipt, StageReport } from "../../protocol/message.ts";
import type { Verb } from "../contract.ts";
import { exitCodeOfSignal } from "../exit_codes.ts";
import { INTERNAL_HINT } from "../report_error.ts";
import { type Session, startSession } from "../run/session.ts";
import { Watchers } from "../run/watchers.ts";
import { trapSignals } from "../run/signals.ts";
import { type Style, styleFor } from "../style.ts";
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
  const say = (text: string): void => json ? undefined : io.out(text);
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
    settings.port.value = freePort();
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
    let signalled: string | null = null;
    signals.connect((signal) => {
      signalled ??= signal;
      session.signal(signal);
    });
    const http = new RelayHttpClient({
      url: session.relayUrl!,
      token: await ownRelayToken(join(home, "relay.token")),
    });
    say(`relay    ${session.relayUrl} (in this process)\n`);
    const shownAll = showDelivery(http, session, { say, style, began });
    // Who presses Ctrl-C does not wait for what the agent will never say.
    const facts = await Promise.race([shownAll, session.ended.then(() => null)]);
    if (facts === null) {
      shownAll.catch(() => {});
      if (signalled !== null) return exitCodeOfSignal(signalled);
      throw new RunnerError("E_PROVIDER_CMD", "the echo agent has ended", { hint: INTERNAL_HINT });
    }
    session.signal("SIGTERM");
    await session.ended;
    const tookMs = Math.round(systemClock.mono() - began);
    say(`done     everything stopped, ${(tookMs / 1000).toFixed(1)} s in all\n`);
    if (json) io.out(JSON.stringify({ ...facts, tookMs }) + "\n");
    return 0;
  } finally {
    signals.dispose();
    await Deno.remove(home, { recursive: true });
  }
};

/** Sends the agent a message, and shows and returns what happened to it. */
async function showDelivery(
  http: RelayHttpClient,
  { agentId, relayUrl }: Pick<Session, "agentId" | "relayUrl">,
  { say, style, began }: { say(text: string): void; style: Style; began: number },
): Promise<{ message: Message; stages: StageReport[]; answer: string }> {
  await untilReady(http, agentId, began);
  say(`agent    ${agentId} (a child process), label:demo\n`);
  const sent = await http.send({
    from: "demo-user",
    to: "label:demo",
    body: TEXT,
    replyExpected: true,
    idempotencyKey: crypto.randomUUID(),
  });
  if (!sent.ok) {
    throw new RunnerError("E_NOT_DELIVERED", `the demo message was refused: ${sent.message}`, {
      hint: INTERNAL_HINT,
    });
  }
  const { message } = sent.value;
  say(`message  ${message.id} "${TEXT}"\n\n`);
  const wait = { until: null, reply: true, timeoutMs: TIMEOUT_MS };
  const common = { http, url: relayUrl!, messageId: message.id, clock: systemClock };
  const { reply } = await waitForReceipt({ ...common, wait, onChange: () => {} });
  const { receipt } = await waitForReceipt({
    ...common,
    wait: { ...wait, until: "acked", reply: false },
    onChange: () => {},
  });
  const stages = stagesOf(receipt);
  for (const report of stages) {
    const after = `+${report.at - message.createdAt} ms`.padStart(9);
    say(`  ${style.green(report.stage.padEnd(9))}${after}  ${report.evidence ?? ""}\n`);
  }
  say(`\nanswer   ${reply!.body}\n`);
  const missing = STAGES.filter((stage) => !stages.some((report) => report.stage === stage));
  if (missing.length > 0) {
    throw new RunnerError("E_NOT_DELIVERED", `no evidence for ${missing.join(", ")}`, {
      hint: INTERNAL_HINT,
    });
  }
  return { message, stages, answer: reply!.body };
}

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
