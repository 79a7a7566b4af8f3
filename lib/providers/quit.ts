import type { ExitStatus } from "../process/contract.ts";

/** The code of an end by SIGINT, of a shell as of Deno, which gives it beside the signal. */
const SIGINT_CODE = 130;

/**
 * True when an agent in a terminal ended because the person wanted it to: in order, or by SIGINT, which only a terminal
 * sends, for Ctrl-C before the agent has taken raw mode or after it has given it back. (Codex 0.169.0 does so while it
 * says "Shutting down...", when an impatient second Ctrl-C comes.)
 */
export function quitByPerson({ code }: ExitStatus): boolean {
  return code === 0 || code === SIGINT_CODE;
}
