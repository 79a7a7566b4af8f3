import { resolve } from "@std/path";
import { RunnerError, shown } from "../base/errors.ts";

const PROMPT_BYTES = 1024 * 1024;

/** Where a prompt may come from. */
export interface PromptInput {
  flags: Readonly<Record<string, string | true>>;
  cwd: string;
  readStdin(): Promise<string>;
}

/**
 * Returns the prompt of a run: `--prompt TEXT`, `--prompt -` (standard input) or `--prompt-file FILE`; null without
 * any. Throws `E_PROMPT` for one that is empty, not text or over 1 MiB.
 */
export async function readPrompt({ flags, cwd, readStdin }: PromptInput): Promise<string | null> {
  const given = flags.prompt;
  const file = flags["prompt-file"];
  if (typeof given === "string" && typeof file === "string") {
    throw new RunnerError("E_FLAG", "--prompt and --prompt-file exclude each other");
  }
  if (typeof file === "string") return checked(await fromFile(resolve(cwd, file), file), "--prompt-file");
  if (typeof given !== "string") return null;
  if (given !== "-") return checked(given, "--prompt");
  if (flags["token-stdin"] === true) {
    throw new RunnerError("E_FLAG", "--prompt - and --token-stdin both read standard input");
  }
  return checked(await readStdin(), "--prompt -");
}

async function fromFile(path: string, given: string): Promise<string> {
  const bad = (what: string) =>
    new RunnerError("E_PROMPT", `prompt file "${shown(given)}" ${what}`, { where: "--prompt-file" });
  try {
    const info = await Deno.stat(path);
    if (!info.isFile) throw bad("is not a regular file");
    if (info.size > PROMPT_BYTES) throw bad("is larger than 1 MiB");
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof RunnerError) throw error;
    if (error instanceof Deno.errors.NotFound) throw bad("does not exist");
    if (error instanceof TypeError) throw bad("is not valid UTF-8");
    throw bad("cannot be read");
  }
}

function checked(text: string, where: string): string {
  if (text.trim() === "") throw new RunnerError("E_PROMPT", "empty prompt", { where });
  const nul = text.indexOf("\0");
  if (nul >= 0) throw new RunnerError("E_PROMPT", `prompt has a NUL byte at offset ${nul}`, { where });
  return text;
}
