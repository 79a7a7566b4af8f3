import { systemClock } from "../../base/clock.ts";
import { messageOf, RunnerError } from "../../base/errors.ts";
import type { LogLevel } from "../../base/log.ts";
import { createLogger, humanLine, type LogSink } from "../../base/logger.ts";
import { createRedactor, looksSecret, type Redactor } from "../../base/redact.ts";
import type { RunSettings } from "../../config/contract.ts";
import { resolveRun } from "../../config/resolve.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { ExitOutcome } from "../../runner/core/types.ts";
import type { Invocation, Verb } from "../contract.ts";
import { describeError, INTERNAL_HINT } from "../report_error.ts";
import { createLogFile, logFileOf } from "../run/log_file.ts";
import { RunReporter } from "../run/reporter.ts";
import { type RunIo, runIo } from "../run/run_io.ts";
import { startSession } from "../run/session.ts";
import { type SignalTrap, trapSignals } from "../run/signals.ts";
import { onSuspend } from "../run/suspend.ts";
import { together, Watchers } from "../run/watchers.ts";

/** Runs a provider on the bus until its goal is reached or it is told to stop. */
export const run: Verb = async (invocation, given) => {
  const redactor = createRedactor();
  let signals: SignalTrap | null = null;
  const form = invocation.flags.output === "jsonl" ? "jsonl" : "text";
  const outputs = runIo(given, { clock: systemClock, form });
  const reporter = new RunReporter(invocation, outputs.io, {
    clock: systemClock,
    redactor,
    crashed: () => signals?.crashed,
    last: () => outputs.last(),
  });
  let code = 0;
  let failure: unknown = null;
  try {
    code = await supervise(invocation, outputs, redactor, reporter, (trap) => signals = trap);
  } catch (error) {
    reporter.failed(error);
    failure = error;
  }
  const heard = await outputs.end((reporter.verdict?.exitCode ?? 0) > 128);
  reporter.written(outputs.lost);
  failure ??= reporter.verdict?.error ?? null;
  if (failure === null) return code;
  // Who waits for standard error to take the reason would wait for ever; the log has it.
  if (!heard) return describeError(failure).exit;
  throw masked(failure, redactor);
};

/** The error as it may be printed: also what an agent or a relay said may repeat a secret. */
function masked(error: unknown, { redact }: Redactor): RunnerError {
  const { code, message, hint, where } = error instanceof RunnerError
    ? error
    : new RunnerError("E_INTERNAL", messageOf(error), { hint: INTERNAL_HINT });
  const clean = new RunnerError(code, redact(message), {
    ...(hint === undefined ? {} : { hint: redact(hint) }),
    ...(where === undefined ? {} : { where: redact(where) }),
  });
  if (error instanceof Error && error.stack !== undefined) clean.stack = redact(error.stack);
  return clean;
}

async function supervise(
  invocation: Invocation,
  { io, onTrouble }: RunIo,
  redactor: Redactor,
  reporter: RunReporter,
  trapped: (signals: SignalTrap) => void,
): Promise<number> {
  const { flags, positionals, providerArgs } = invocation;
  const provider = positionals[0]!;
  const detaching = flags.detach === true ? await import("../run/detach.ts") : null;
  detaching?.checkInput(invocation);
  const settings = await resolveRun(provider, providerArgs, {
    flags,
    env: io.env,
    cwd: io.cwd,
    readStdin: () => io.readStdin(),
  });
  if (detaching !== null) {
    if (settings.headless) {
      throw new RunnerError("E_FLAG", "--detach is for an agent in a terminal", {
        hint: "leave --headless out",
      });
    }
    return await detaching.detach(settings, invocation, { io, clock: systemClock });
  }
  if (!settings.headless && !(io.outIsTerminal && Deno.stdin.isTerminal())) {
    throw new RunnerError("E_USAGE", `${provider} needs a terminal`, { hint: "use --headless" });
  }
  redactor.add(settings.relay.token.value);
  for (const values of [io.env, settings.providerSettings.env.value]) {
    for (const [name, value] of Object.entries(values)) if (looksSecret(name)) redactor.add(value);
  }
  const level = typeof flags["log-level"] === "string" ? flags["log-level"] as LogLevel : "info";
  const toTerminal: LogSink = (line) => {
    // The terminal is the agent's: nothing of ours is painted over it.
    if (!settings.headless) return;
    if (io.errIsTerminal || line.level === "warn" || line.level === "error") io.err(humanLine(line));
    reporter.log(line);
  };
  const logFile = createLogFile();
  const watchers = new Watchers(provider, redactor);
  const sinks: LogSink[] = [toTerminal, logFile.sink, (line) => watchers.log(line)];
  const log = createLogger({ level, clock: systemClock, redactor, sinks });
  onTrouble((message) => log.warn(message));
  // Before the first child exists: a signal at any time finds a handler.
  const signals = trapSignals();
  trapped(signals);
  const terminal = settings.headless ? null : await (await import("../run/terminal.ts")).saveTerminal();
  let end: "clean" | "killed" = "clean";
  let unsuspend = () => {};
  let farewell = "";
  try {
    const session = await startSession(settings, {
      clock: systemClock,
      random: Math.random,
      log,
      redactor,
      env: io.env,
      follow: together(reporter, watchers),
      watch: watchers.door,
      placed: (id) => logFile.open(logFileOf(settings.paths.logsDir, id)),
      terminal: terminal?.device ?? null,
      // At once: an agent that is started again must find the terminal as the first one did. Codex's process has none.
      agentEnded: ({ signal }) =>
        provider !== "codex" && signal !== null ? terminal?.restore("killed") : undefined,
      remoteLifecycle: flags["no-remote-lifecycle"] !== true,
    });
    end = "killed";
    signals.connect((signal) => session.signal(signal));
    unsuspend = onSuspend(session, { interactive: !settings.headless, clock: systemClock, log });
    log.info("agent is starting", {
      agentId: session.agentId,
      relay: session.relayUrl ?? "none",
      approval: session.approval,
      log: session.logFile,
    });
    if (session.approval === "open") {
      log.warn("approval mode open: the agent may do everything without asking");
    }
    const outcome = await session.ended;
    if (!wasKilled(provider, outcome, reporter.providerExit)) end = "clean";
    log.info("run ended", { cause: outcome.cause.kind });
    const verdict = reporter.verdict;
    if (verdict === null) throw new Error("the run ended without an outcome");
    if (signals.crashed !== undefined) throw signals.crashed;
    if (verdict.error !== null) throw verdict.error;
    if (provider === "codex" && !settings.headless) farewell = farewellOf(reporter, settings);
    return verdict.exitCode;
  } catch (error) {
    log.debug("run failed", { error: messageOf(error) });
    throw error;
  } finally {
    unsuspend();
    signals.dispose();
    terminal?.restore(end);
    if (farewell !== "") io.err(farewell);
    logFile.close();
  }
}

/**
 * Codex's own last words are those of a client whose server goes on with the work ("Any running work continues", 0.169.0),
 * and how to come back to it.
 */
function farewellOf({ conversation }: RunReporter, { label }: RunSettings): string {
  const named = label.value === null ? "" : ` --label ${label.value}`;
  const again = conversation === null
    ? ""
    : `; go on with: runner codex${named} --conversation ${conversation}`;
  return `runner: the agent has ended, with all its work${again}\n`;
}

/** True when the terminal was not put back: by the agent, or at once when its process was killed. */
function wasKilled(provider: string, { cause }: ExitOutcome, exit: ExitStatus | null): boolean {
  // Codex's terminal is no process of the provider's: it ends in order when the person quits it, else by our signal or,
  // with raw mode left on, by one of the person's.
  if (provider === "codex") return cause.kind !== "provider" || cause.status.code !== 0;
  if (exit !== null) return false;
  // Nobody saw its end: either it never ran, or it was taken down with a runner in trouble.
  return !(cause.kind === "error" && cause.code === "E_PROVIDER_CMD");
}
