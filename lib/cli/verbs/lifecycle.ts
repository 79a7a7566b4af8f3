import { delay, systemClock } from "../../base/clock.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import { isRecord } from "../../protocol/codec.ts";
import type { Command } from "../../protocol/message.ts";
import type { Invocation, Io, Verb } from "../contract.ts";
import { oneAgent, openRelay, type RelayAccess, valueOf } from "../relay_access.ts";
import { stateOf } from "../../sdk/progress.ts";
import { durationFlag } from "../flag_values.ts";

const TIMEOUT_MS = 60_000;
/** Between two looks whether the agent is still there, while its answer is waited for. */
const POLL_MS = 3_000;
const RETRY_MS = 200;
const ENDED: ReadonlySet<string> = new Set(["succeeded", "failed", "expired", "canceled"]);

/** Lets an agent finish its turn and stops it; with --hard ends it at once. One that is not there is stopped. */
export const stop: Verb = async (invocation, io) => {
  const type = invocation.flags.hard === true ? "agent.kill" : "agent.shutdown";
  const outcome = await carriedOut(invocation, io, type);
  const { agentId } = outcome;
  if (outcome.end === "succeeded") return told(io, invocation, outcome.command, `${agentId} is stopped`);
  // Somebody else's stop, or its own end, came first: what was asked for is so.
  if (outcome.end === "gone") {
    return told(io, invocation, { agentId, status: "gone" }, `${agentId} is not running`);
  }
  throw refused(agentId, outcome.command);
};

/** Restarts an agent; its conversation goes on. */
export const restart: Verb = async (invocation, io) => {
  const outcome = await carriedOut(invocation, io, "agent.restart");
  const { agentId } = outcome;
  if (outcome.end === "succeeded") return told(io, invocation, outcome.command, `${agentId} is restarted`);
  if (outcome.end === "failed") throw refused(agentId, outcome.command);
  throw new RunnerError("E_CONFLICT", `${agentId} is not running`, {
    hint: `start it where it ran before; see "runner status ${agentId}"`,
  });
};

type Outcome =
  & { agentId: string }
  & ({ end: "succeeded" | "failed"; command: Command } | { end: "gone" });

/** Has a command carried out, or finds out that its agent is not there any more. Throws `E_TIMEOUT`. */
async function carriedOut(invocation: Invocation, io: Io, type: string): Promise<Outcome> {
  const access = await openRelay(invocation, io);
  const agent = await oneAgent(access, invocation.positionals[0]!);
  const { id: agentId } = agent;
  if (agent.status === "offline") return { agentId, end: "gone" };
  const deadline = systemClock.mono() + durationFlag(invocation.flags.timeout, TIMEOUT_MS);
  for (;;) {
    const outcome = await commanded(access, { type, target: agentId }, deadline);
    if (outcome.end === "late") throw await timedOut(access, agentId, type);
    if (outcome.end === "gone" || outcome.end === "succeeded") return { agentId, ...outcome };
    const wait = refusal(outcome.command);
    if (wait === null || wait.waitMs > deadline - systemClock.mono()) return { agentId, ...outcome };
    if (!wait.again) {
      if (type === "agent.restart") return { agentId, ...outcome };
      // It goes the same way as the one whose stop came first.
      if (await goneBy(access, agentId, deadline)) return { agentId, end: "gone" };
      throw await timedOut(access, agentId, type);
    }
    await delay(systemClock, wait.waitMs);
  }
}

type Commanded = { end: "succeeded" | "failed"; command: Command } | { end: "gone" } | { end: "late" };

/** Sends a command and waits until it has ended, its agent is gone, or the time is up. */
async function commanded(
  access: RelayAccess,
  input: { type: string; target: string },
  deadline: number,
): Promise<Commanded> {
  const leftMs = () => Math.max(0, deadline - systemClock.mono());
  const created = valueOf(
    await access.http.createCommand({ ...input, ttlMs: Math.max(1_000, Math.ceil(leftMs())) }),
    access.url,
  );
  for (;;) {
    // A long poll: an agent that serves the relay itself answers it before it goes.
    const command = await access.http.getCommand(created.id, Math.min(POLL_MS, leftMs()));
    if (command.ok && ENDED.has(command.value.status)) {
      return { end: command.value.status === "succeeded" ? "succeeded" : "failed", command: command.value };
    }
    if (leftMs() === 0) return { end: "late" };
    if (!command.ok) await delay(systemClock, RETRY_MS);
    else if (await isGone(access, input.target)) return { end: "gone" };
  }
}

/** True once the agent has ended or is forgotten; false for one that is only not heard of. */
async function isGone(access: RelayAccess, agentId: string): Promise<boolean> {
  const card = await access.http.getAgent(agentId);
  return card.ok ? card.value.status === "offline" : card.kind === "rejected" && card.status === 404;
}

async function goneBy(access: RelayAccess, agentId: string, deadline: number): Promise<boolean> {
  while (systemClock.mono() < deadline) {
    if (await isGone(access, agentId)) return true;
    await delay(systemClock, RETRY_MS);
  }
  return false;
}

async function timedOut(access: RelayAccess, agentId: string, type: string): Promise<RunnerError> {
  const done = type === "agent.restart" ? "restarted" : "stopped";
  const listed = await access.http.listAgents();
  const why = listed.ok ? stateOf(listed.value.find(({ id }) => id === agentId)) : null;
  const known = why === null ? "" : `; it ${shown(why, 200)}`;
  return new RunnerError("E_TIMEOUT", `${agentId} did not say that it is ${done}${known}`, {
    hint: `see "runner status ${agentId}"`,
  });
}

/** What to do about a refusal: try again after a while, or wait for the end that is under way; null for all others. */
function refusal({ result }: Command): { waitMs: number; again: boolean } | null {
  if (!isRecord(result)) return null;
  if (result.code === "E_STOPPING") return { waitMs: 0, again: false };
  return result.code === "E_RATE" && typeof result.retryAfterMs === "number"
    ? { waitMs: result.retryAfterMs, again: true }
    : null;
}

function refused(agentId: string, { status, error }: Command): RunnerError {
  const why = error === undefined ? "" : `: ${shown(error, 200)}`;
  return new RunnerError("E_RELAY_REFUSED", `${agentId}: ${status}${why}`, {
    hint: `see "runner status ${agentId}"`,
  });
}

function told(io: Io, { flags }: Invocation, value: unknown, text: string): number {
  io.out(flags.json === true ? JSON.stringify(value) + "\n" : `${text}\n`);
  return 0;
}
