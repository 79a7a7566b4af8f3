import { assertEquals } from "@std/assert";
import type { Receipt } from "../../lib/protocol/message.ts";
import { type RealAgent, withRealAgent } from "./real_home.ts";
import { describeProcesses, processesWith, RUN_ARGS } from "./runner_process.ts";
import { until } from "./temp.ts";
import { TmuxTerminal } from "./tmux.ts";

/** A real agent in a real terminal, with its mock model. */
export interface Seat extends RealAgent {
  terminal: TmuxTerminal;
}

/** Starts `runner <provider> --label api` in a terminal, as a person would, and runs `work` there. */
export async function withSeat(
  provider: "claude" | "codex",
  flags: readonly string[],
  work: (seat: Seat) => Promise<void>,
  options: { prepare?: (agent: RealAgent) => void; env?: Record<string, string> } = {},
): Promise<void> {
  await withRealAgent(provider, async (agent) => {
    options.prepare?.(agent);
    await using terminal = new TmuxTerminal();
    await terminal.start([Deno.execPath(), ...RUN_ARGS, provider, "--label", "api", ...flags], {
      cwd: agent.home.cwd,
      env: { ...agent.home.env, ...options.env },
    });
    try {
      await work({ ...agent, terminal });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n--- screen\n${await terminal.capture()}`, {
        cause: error,
      });
    }
  });
}

/** The receipt of a message. */
export async function receiptOf({ home }: RealAgent, id: number): Promise<Receipt> {
  const { out, err } = await home.run(["receipt", String(id), "--json"]);
  if (out === "") throw new Error(err);
  return JSON.parse(out) as Receipt;
}

/** Stages of a message at all its recipients, in order. */
export function stagesOf(receipt: Receipt): string[] {
  return receipt.recipients.flatMap(({ reports }) => reports.map((report) => report.stage));
}

/** Resolves once the only agent on the bus has this status: 5 s are promised, twice that is waited. */
export async function statusIs({ home }: RealAgent, status: string): Promise<void> {
  await until(`status ${status}`, async () => (await home.agents())[0]?.status === status, 10_000);
}

/** Sends to label:api and returns what the command printed. */
export async function send({ home }: RealAgent, text: string, ...flags: string[]): Promise<string> {
  const { code, out, err } = await home.run(["send", "label:api", text, "--timeout", "30s", ...flags]);
  assertEquals(code, 0, err);
  return out;
}

/** A model API that refuses the login: the message is held, unread, and the agent says so. */
export async function heldBy401(seat: RealAgent): Promise<void> {
  seat.model.decide = () => ({ kind: "error", status: 401 });
  await seat.home.run(["send", "label:api", "marker-401"]);
  await until("the hold", async () => stagesOf(await receiptOf(seat, 1)).includes("held"));
  assertEquals((await receiptOf(seat, 1)).recipients[0]!.read, false);
  await statusIs(seat, "error");
  seat.model.decide = null;
}

/** A text of over 80 kB that makes the mock answer `big`. */
export const BIG = Array.from({ length: 1_500 }, (_, i) => `line ${i} ${"x".repeat(45)}`).join("\n") +
  " [[say big]]";

/** The run has ended with one of these codes, the terminal is a shell's again, and no process is left. */
export async function gone({ terminal, home }: Seat, ...codes: number[]): Promise<void> {
  const marker = `AGENT_RELAY_CONTROL_FILE=${home.home}`;
  const processes = async () => await describeProcesses(await processesWith(marker));
  await terminal.untilExited(codes).catch(async (error: Error) => {
    throw new Error(`${error.message}\n--- processes\n${(await processes()).join("\n")}`, { cause: error });
  });
  let broken: string[] = [];
  let left: string[] = [];
  const over = async () => {
    broken = await terminal.broken();
    left = await processes();
    return broken.length === 0 && left.length === 0;
  };
  // After a SIGKILL of the runner both are the guard's work, for which it has 5 s.
  if (codes.includes(137)) await until("a sane terminal without processes", over, 5_000).catch(() => {});
  else await over();
  assertEquals([broken, left], [[], []]);
}

/** Process id of the runner, from its own state. */
export function pidOfRunner({ home }: Pick<RealAgent, "home">): number {
  for (const { name } of Deno.readDirSync(`${home.home}/state`)) {
    try {
      const admin = Deno.readTextFileSync(`${home.home}/state/${name}/admin.json`);
      return (JSON.parse(admin) as { pid: number }).pid;
    } catch { /* another file */ }
  }
  throw new Error("no runner is running");
}
