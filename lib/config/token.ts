import { RunnerError, shown } from "../base/errors.ts";
import { readPrivateFile, writeFileOnce } from "../base/private_file.ts";
import { randomToken } from "../base/secret.ts";
import type { Rule } from "./shape.ts";

const TOKEN_LIMIT = 4 * 1024;

/** What a token must be, wherever it comes from. It travels in a header. */
export const TOKEN_RULES: readonly Rule<string>[] = [
  { holds: (token) => token !== "", message: "is empty" },
  { holds: (token) => token.length <= TOKEN_LIMIT, message: "is larger than 4 KiB" },
  {
    holds: (token) => /^[\x21-\x7e]*$/.test(token),
    message: "has characters that a header cannot carry",
  },
];

/** Reads a token from a file that only its owner can read. Throws `E_TOKEN_FILE`. */
export async function readTokenFile(path: string): Promise<string> {
  const fail = (what: string, hint?: string) =>
    new RunnerError("E_TOKEN_FILE", `token file ${what}`, {
      where: shown(path, 300),
      ...(hint === undefined ? {} : { hint }),
    });
  const file = await readPrivateFile(path, { maxBytes: TOKEN_LIMIT, secret: true });
  if (!file.ok) {
    throw fail(
      file.kind === "missing" ? "not found" : `is ${file.problem}`,
      file.kind === "perm" ? `run chmod 600 ${shown(path, 300)}` : undefined,
    );
  }
  return checkToken(file.text, (what) => fail(what));
}

/** Checks a token that came from standard input or a variable. Throws `E_TOKEN_FILE`. */
export function checkGivenToken(text: string, where: string): string {
  return checkToken(text, (what) => new RunnerError("E_TOKEN_FILE", `token ${what}`, { where }));
}

function checkToken(text: string, fail: (what: string) => RunnerError): string {
  const token = text.replace(/\r?\n$/, "");
  const broken = TOKEN_RULES.find(({ holds }) => !holds(token));
  if (broken !== undefined) throw fail(broken.message);
  return token;
}

/** Returns the token of this home's own relay; makes it when it is not there yet, safe against a race. */
export async function ownRelayToken(path: string): Promise<string> {
  const existing = await readPrivateFile(path, { maxBytes: TOKEN_LIMIT, secret: true });
  if (!existing.ok && existing.kind === "missing") writeFileOnce(path, randomToken() + "\n");
  return await readTokenFile(path);
}
