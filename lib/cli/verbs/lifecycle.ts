import { delay, systemClock } from "../../base/clock.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import { isRecord } from "../../protocol/codec.ts";
import type { Command } from "../../protocol/message.ts";
import type { Verb } from "../contract.ts";
import { oneAgent, openRelay, type RelayAccess, valueOf } from "../relay_access.ts";
import { stateOf } from "../wait.ts";
import { durationFlag } from "./run.ts";

const TIMEOUT_MS = 60_000;
const POLL_MS = 25_000;
const RETRY_MS = 200;
const ENDED: ReadonlySet<string> = new Set(["succeeded", "failed", "expired", "canceled"]);

/** Returns the verb that sends one kind of lifecycle command and waits for its outcome. */
function lifecycle(typeOf: (hard: boolean) => string, doneWord: string): Verb {
  return async (invocation, io) => {
    const { flags } = invocation;
    const access = await openRelay(invocation, io);
    const agent = await oneAgent(access, invocation.positionals[0]!);
    const deadline = systemClock.mono() + durationFlag(flags.timeout, TIMEOUT_MS);
    const type = typeOf(flags.hard === true);
    for (;;) {
      const command = await carriedOut(access, { type, target: agent.id }, deadline);
      if (command === null) {
        const listed = await access.http.listAgents();
        const why = listed.ok ? stateOf(listed.value.find(({ id }) => id === agent.id)) : null;
        const known = why === null ? "" : `; it ${shown(why, 200)}`;
        throw new RunnerError("E_TIMEOUT", `${agent.id} did not say that it is ${doneWord}${known}`, {
          hint: `see "runner agents"`,
        });
      }
      if (command.status === "succeeded") {
        io.out(flags.json === true ? JSON.stringify(command) + "\n" : `${agent.id} is ${doneWord}\n`);
        return 0;
      }
      const waitMs = tooEarlyBy(command);
      if (waitMs === null || systemClock.mono() + waitMs >= deadline) throw refused(agent.id, command);
      await delay(systemClock, waitMs);
    }
  };
}

/** Sends a command and returns it once it has ended, or null when the time is up before. */
async function carriedOut(
  access: RelayAccess,
  input: { type: string; target: string },
  deadline: number,
): Promise<Command | null> {
  const leftMs = () => Math.max(0, deadline - systemClock.mono());
  const created = valueOf(
    await access.http.createCommand({ ...input, ttlMs: Math.max(1_000, Math.ceil(leftMs())) }),
    access.url,
  );
  for (;;) {
    // A long poll: an agent that serves the relay itself answers it before it goes.
    const command = await access.http.getCommand(created.id, Math.min(POLL_MS, leftMs()));
    if (command.ok && ENDED.has(command.value.status)) return command.value;
    if (leftMs() === 0) return null;
    if (!command.ok) await delay(systemClock, RETRY_MS);
  }
}

/** How long to wait before a command that came too soon after another one may be sent again; null for all others. */
function tooEarlyBy({ result }: Command): number | null {
  if (!isRecord(result) || result.code !== "E_RATE") return null;
  return typeof result.retryAfterMs === "number" ? result.retryAfterMs : null;
}

function refused(agentId: string, { status, error }: Command): RunnerError {
  const why = error === undefined ? "" : `: ${shown(error, 200)}`;
  return new RunnerError("E_RELAY_REFUSED", `${agentId}: ${status}${why}`);
}

/** Lets an agent finish its turn and stops it; with --hard ends it at once. */
export const stop: Verb = lifecycle((hard) => hard ? "agent.kill" : "agent.shutdown", "stopped");

/** Restarts an agent; its conversation goes on. */
export const restart: Verb = lifecycle(() => "agent.restart", "restarted");
