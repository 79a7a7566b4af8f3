import { dirname, resolve } from "@std/path";
import type { Clock } from "../../base/clock.ts";
import { messageOf, RunnerError, shown } from "../../base/errors.ts";
import type { LogLine } from "../../base/logger.ts";
import { writeFileAtomic } from "../../base/private_file.ts";
import type { Redactor } from "../../base/redact.ts";
import type { StageReport } from "../../protocol/message.ts";
import type { ExitStatus } from "../../process/contract.ts";
import type { RunReport } from "../../runner/core/goal.ts";
import type { ExitOutcome, TurnResult } from "../../runner/core/types.ts";
import type { Invocation, Io } from "../contract.ts";
import { foreignText } from "../foreign_text.ts";
import { withoutOldCommands } from "../github_commands.ts";
import type { RunFollower, RunStart } from "./follower.ts";
import { GithubActions } from "./github.ts";
import { encodeEvent, type RunEvent, stageEvent, startEvent, turnEvent } from "./run_events.ts";
import { resultOf, type RunResult, type Verdict, verdictOf } from "./result.ts";

/** What a reporter needs of the process. */
export interface ReporterDeps {
  clock: Clock;
  redactor: Redactor;
  /** An error nobody caught, undefined without. */
  crashed(): unknown;
  /** The last words of the run follow: none of them may be dropped. */
  last(): void;
}

/**
 * Tells the caller of a run how it goes: the agent's text or one JSON object a line on standard output, the result
 * file, and on GitHub annotations, summary and outputs. The result is told once, whatever the end is.
 */
export class RunReporter implements RunFollower {
  readonly #io: Io;
  readonly #deps: ReporterDeps;
  readonly #provider: string;
  readonly #form: "text" | "jsonl";
  readonly #resultFile: string | null;
  readonly #github: GithubActions | null;
  readonly #startedWall: number;
  readonly #startedMono: number;
  #start: RunStart | null = null;
  #verdict: Verdict | null = null;
  #report: RunReport | null = null;

  constructor({ flags, positionals }: Invocation, io: Io, deps: ReporterDeps) {
    this.#io = io;
    this.#deps = deps;
    this.#provider = positionals[0]!;
    this.#form = flags.output === "jsonl" ? "jsonl" : "text";
    this.#resultFile = typeof flags.result === "string" ? freshFile(resolve(io.cwd, flags.result)) : null;
    this.#github = io.env.GITHUB_ACTIONS === "true" ? new GithubActions(io, this.#form) : null;
    this.#startedWall = deps.clock.wall();
    this.#startedMono = deps.clock.mono();
  }

  started(start: RunStart): void {
    this.#start = start;
    this.#github?.mask(start.masked);
    this.#line(startEvent(start, this.#provider));
  }

  output(text: string): void {
    const clean = this.#deps.redactor.redact(text);
    if (this.#form === "jsonl") this.#line({ type: "output", text: clean });
    else if (this.#github !== null) this.#github.output(clean);
    else this.#io.out(foreignText(clean, this.#io));
  }

  stage(report: StageReport, local: boolean): void {
    this.#line(stageEvent(report, local));
  }

  turn(turn: TurnResult): void {
    this.#line(turnEvent(turn));
  }

  /** Takes a log line for the annotations. */
  log(line: LogLine): void {
    if (line.level !== "warn") return;
    const fields = Object.entries(line.fields).map(([name, value]) => `${name}=${value}`).join(" ");
    this.#github?.warn(fields === "" ? line.message : `${line.message} (${fields})`);
  }

  ending(outcome: ExitOutcome, report: RunReport): void {
    this.#finish(
      verdictOf(outcome, report, {
        crashed: this.#deps.crashed(),
        redact: (text) => this.#deps.redactor.redact(text),
      }),
      report,
    );
  }

  /** Tells of a run that ended by an error before or after its session; the first end counts. */
  failed(error: unknown): void {
    if (this.#verdict !== null) return;
    this.#finish(verdictOf(NO_OUTCOME, NO_REPORT, { crashed: error }), null);
  }

  /** How the agent's last process ended, null when that is not known. */
  get providerExit(): ExitStatus | null {
    return this.#report?.providerExit ?? null;
  }

  /** Conversation that the run ended in, null when none was open. */
  get conversation(): string | null {
    return this.#report?.conversation ?? null;
  }

  /** The verdict once the run has ended. */
  get verdict(): Verdict | null {
    return this.#verdict;
  }

  /**
   * Everything that was said is written, or will never be (`lost`: why). A job whose answer is lost has not succeeded; an
   * agent that serves has.
   */
  written(lost: string | null): void {
    const succeeded = this.#verdict?.exitCode === 0 && this.#report !== null && this.#report.once !== null;
    if (lost === null || !succeeded) return;
    const error = new RunnerError("E_INTERNAL", `standard output could not be written: ${shown(lost)}`, {
      hint: "the work was done; use --result FILE for what must not be lost",
    });
    this.#verdict = verdictOf(NO_OUTCOME, NO_REPORT, { crashed: error });
    this.#write(this.#result(this.#verdict));
  }

  #finish(verdict: Verdict, report: RunReport | null): void {
    if (this.#verdict !== null) return;
    this.#verdict = verdict;
    this.#report = report;
    const result = this.#result(verdict);
    this.#write(result);
    this.#deps.last();
    this.#line({ type: "result", ...result });
    this.#github?.ended(result, this.#resultFile);
  }

  #result(verdict: Verdict): RunResult {
    const { clock, redactor } = this.#deps;
    return resultOf({
      verdict,
      provider: this.#provider,
      start: this.#start,
      report: this.#report,
      startedAt: this.#startedWall,
      durationMs: clock.mono() - this.#startedMono,
      redact: (text) => redactor.redact(text),
    });
  }

  #write(result: RunResult): void {
    if (this.#resultFile === null) return;
    try {
      writeFileAtomic(this.#resultFile, JSON.stringify(result, null, 2) + "\n");
    } catch (error) {
      this.#io.err(`runner: warning: the result file cannot be written: ${messageOf(error)}\n`);
    }
  }

  #line(event: RunEvent): void {
    if (this.#form !== "jsonl") return;
    const line = encodeEvent(event, this.#deps.redactor);
    this.#io.out((this.#github === null ? line : withoutOldCommands(line, "json")) + "\n");
  }
}

const NO_OUTCOME: ExitOutcome = { cause: { kind: "drained" }, deregister: false };
const NO_REPORT: RunReport = {
  once: null,
  work: "waiting",
  turns: 0,
  costUsd: null,
  signal: null,
  messages: { done: 0, failed: 0, dead: 0, open: 0 },
  text: null,
  failure: null,
  conversation: null,
  providerExit: null,
};

/** A result of an earlier run must not pass for this one's, and a place that cannot take one is told at once. */
function freshFile(path: string): string {
  const bad = (what: string) =>
    new RunnerError("E_FLAG_VALUE", `result file "${shown(path)}" ${what}`, { where: "--result" });
  try {
    if (!Deno.statSync(dirname(path)).isDirectory) throw bad("is in no directory");
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    throw bad("is in a directory that does not exist");
  }
  try {
    // Never a device or a link to one: who runs as root would lose it to a typing error.
    if (!Deno.lstatSync(path).isFile) throw bad("is no regular file");
    Deno.removeSync(path);
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    if (!(error instanceof Deno.errors.NotFound)) throw bad("cannot be replaced");
  }
  return path;
}
