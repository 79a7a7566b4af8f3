import { messageOf } from "../../base/errors.ts";
import type { Io } from "../contract.ts";
import { randomHex } from "../../base/secret.ts";
import { showDuration } from "../../base/duration.ts";
import type { RunResult } from "./result.ts";

/** Annotations of one level that GitHub keeps of a step; more are dropped there. */
const ANNOTATIONS = 10;
/** GitHub takes 1 MiB of summary and of outputs; the text is the only part that can be long. */
const TEXT_LIMIT = 256 * 1024;

/** Escapes the message of a workflow command. */
export function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

/** Escapes the value of a workflow command's property. */
export function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

/** Returns one workflow command as a line. */
export function workflowCommand(
  name: string,
  message: string,
  properties: Readonly<Record<string, string>> = {},
): string {
  const list = Object.entries(properties).map(([key, value]) => `${key}=${escapeProperty(value)}`).join(",");
  return `::${name}${list === "" ? "" : ` ${list}`}::${escapeData(message)}\n`;
}

/** Returns the step summary of a run as Markdown. The model's text is in a fence that it cannot close. */
export function stepSummary(result: RunResult): string {
  const rows: [string, string][] = [
    ["Outcome", `${result.outcome} (exit code ${result.exitCode})`],
    ["Agent", result.agentId ?? result.provider.name],
    ["Turns", String(result.turns)],
    ...(result.costUsd === null ? [] : [["Cost", `${result.costUsd.toFixed(4)} USD`] as [string, string]]),
    ["Time", showDuration(result.durationMs)],
    ...(result.error === null
      ? []
      : [["Error", `${result.error.code}: ${result.error.message}`] as [string, string]]),
  ];
  const text = cut(result.text ?? "");
  // Not as arguments of one call: a model can write more of them than a call takes.
  let longest = 2;
  for (const [run] of text.matchAll(/`+/g)) longest = Math.max(longest, run.length);
  const fence = "`".repeat(longest + 1);
  return [
    `### ${result.provider.name}: ${result.outcome}`,
    "",
    "| | |",
    "| --- | --- |",
    ...rows.map(([name, value]) => `| ${name} | ${cell(value)} |`),
    "",
    ...(text === "" ? [] : [`${fence}text`, text.replace(/\n+$/, ""), fence, ""]),
  ].join("\n") + "\n";
}

/** A table cell shows text, not markup. */
function cell(text: string): string {
  return text.replace(/[\r\n]+/g, " ").replace(/[\\`*_{}[\]<>#|!&~]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Returns the step's outputs in the form of `GITHUB_OUTPUT`; the delimiter cannot be guessed by the model. */
export function stepOutputs(result: RunResult, resultFile: string | null, delimiter: string): string {
  return [
    `outcome=${result.outcome}`,
    `exit-code=${result.exitCode}`,
    ...(result.conversation === null ? [] : [`conversation<<${delimiter}`, result.conversation, delimiter]),
    ...(resultFile === null ? [] : [`result<<${delimiter}`, resultFile, delimiter]),
    `text<<${delimiter}`,
    cut(result.text ?? ""),
    delimiter,
    "",
  ].join("\n");
}

function cut(text: string): string {
  return text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}\n[cut]` : text;
}

/**
 * Speaks to the GitHub Actions runner that reads this step's output.
 *
 * What the agent says is printed between `stop-commands` guards with a token it cannot know, so that no line of it
 * is obeyed. In jsonl mode a line cannot be a command, and ours go to standard error so that every line stays JSON.
 */
export class GithubActions {
  readonly #io: Io;
  readonly #form: "text" | "jsonl";
  /** Token of the open guard, null when commands are obeyed. */
  #guard: string | null = null;
  #atLineStart = true;
  #warnings: string[] = [];

  constructor(io: Io, form: "text" | "jsonl") {
    this.#io = io;
    this.#form = form;
  }

  /** Has secrets of this run masked in the whole log of the job. */
  mask(secrets: readonly string[]): void {
    // Not on standard output, which may be kept as a file.
    for (const secret of secrets) this.#io.err(workflowCommand("add-mask", secret));
  }

  /** Prints what the agent said. */
  output(text: string): void {
    if (this.#guard === null) {
      this.#guard = `agent-output-${randomHex(16)}`;
      this.#io.out(workflowCommand("stop-commands", this.#guard));
    }
    this.#io.out(text);
    this.#atLineStart = text === "" ? this.#atLineStart : text.endsWith("\n");
  }

  /** Keeps a warning for the annotations at the end. */
  warn(message: string): void {
    if (this.#warnings.length < ANNOTATIONS) this.#warnings.push(message);
  }

  /** Annotations, step summary and outputs of the finished run. */
  ended(result: RunResult, resultFile: string | null): void {
    this.#unguard();
    const title = `${result.provider.name}: ${result.outcome}`;
    for (const warning of this.#warnings) this.#command(workflowCommand("warning", warning, { title }));
    if (result.exitCode !== 0) {
      const reason = result.error === null
        ? `ended by ${result.signal ?? "a signal"} before the work was done`
        : `${result.error.code}: ${result.error.message}`;
      this.#command(workflowCommand("error", reason, { title }));
    }
    this.#append("GITHUB_STEP_SUMMARY", stepSummary(result));
    this.#append("GITHUB_OUTPUT", stepOutputs(result, resultFile, `end-${randomHex(16)}`));
  }

  #unguard(): void {
    if (this.#guard === null) return;
    this.#io.out(`${this.#atLineStart ? "" : "\n"}::${this.#guard}::\n`);
    this.#guard = null;
  }

  #command(line: string): void {
    if (this.#form === "jsonl") this.#io.err(line);
    else this.#io.out(line);
  }

  #append(variable: string, text: string): void {
    const path = this.#io.env[variable];
    if (path === undefined || path === "") return;
    try {
      Deno.writeTextFileSync(path, text, { append: true });
    } catch (error) {
      this.#io.err(`runner: warning: ${variable} cannot be written: ${messageOf(error)}\n`);
    }
  }
}
