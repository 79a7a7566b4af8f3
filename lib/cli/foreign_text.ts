import { shown } from "../base/errors.ts";
import type { Io } from "./contract.ts";

/**
 * Returns what somebody else wrote as a verb may print it. On a terminal, control characters and their like become visible
 * signs, so that a message cannot move the cursor, set the title or fill the clipboard; in a pipe it stays as it is.
 */
export function foreignText(text: string, { outIsTerminal }: Pick<Io, "outIsTerminal">): string {
  if (!outIsTerminal) return text;
  return text.split("\n").map((line) =>
    line.replace(/\r$/, "").split("\t").map((part) => shown(part, Infinity)).join("\t")
  ).join("\n");
}
