import { delay, systemClock } from "../../base/clock.ts";
import { RunnerError, shown } from "../../base/errors.ts";
import type { Verb } from "../contract.ts";
import { oneAgent, openRelay, valueOf } from "../relay_access.ts";
import { durationFlag } from "./run.ts";

const TIMEOUT_MS = 60_000;
const POLL_MS = 25_000;
const RETRY_MS = 200;

/** Returns the verb that sends one kind of lifecycle command and waits for its outcome. */
function lifecycle(typeOf: (hard: boolean) => string, doneWord: string): Verb {
  return async (invocation, io) => {
    const { flags } = invocation;
    const access = await openRelay(invocation, io);
    const agent = await oneAgent(access, invocation.positionals[0]!);
    const timeoutMs = durationFlag(flags.timeout, TIMEOUT_MS);
    const type = typeOf(flags.hard === true);
    const created = valueOf(
      await access.http.createCommand({ type, target: agent.id, ttlMs: timeoutMs }),
      access.url,
    );
    const deadline = systemClock.mono() + timeoutMs;
    for (;;) {
      // A long poll: an agent that serves the relay itself answers it before it goes.
      const left = Math.max(0, deadline - systemClock.mono());
      const command = await access.http.getCommand(created.id, Math.min(POLL_MS, left));
      if (command.ok && ["succeeded", "failed", "expired", "canceled"].includes(command.value.status)) {
        const { status, error } = command.value;
        if (status !== "succeeded") {
          throw new RunnerError(
            "E_RELAY_REFUSED",
            `${agent.id}: ${status}${error === undefined ? "" : `: ${shown(error, 200)}`}`,
          );
        }
        io.out(
          flags.json === true ? JSON.stringify(command.value) + "\n" : `${agent.id} is ${doneWord}\n`,
        );
        return 0;
      }
      if (systemClock.mono() >= deadline) {
        throw new RunnerError("E_TIMEOUT", `${agent.id} did not say that it is ${doneWord}`, {
          hint: `see "runner agents"`,
        });
      }
      if (!command.ok) await delay(systemClock, RETRY_MS);
    }
  };
}

/** Lets an agent finish its turn and stops it; with --hard ends it at once. */
export const stop: Verb = lifecycle((hard) => hard ? "agent.kill" : "agent.shutdown", "stopped");

/** Restarts an agent; its conversation goes on. */
export const restart: Verb = lifecycle(() => "agent.restart", "restarted");
