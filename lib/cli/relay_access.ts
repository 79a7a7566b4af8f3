import { RelayHttpClient } from "agent-relay-sdk";
import { RunnerError, shown } from "../base/errors.ts";
import { resolveRelay } from "../config/resolve.ts";
import { readTokenFile } from "../config/token.ts";
import type { CallFailure, CallResult } from "../sdk/contract.ts";
import { noRecipient } from "../sdk/no_recipient.ts";
import type { AgentCard } from "../protocol/message.ts";
import type { Invocation, Io } from "./contract.ts";

/** A relay to talk to, as the flags, the environment and the files say. */
export interface RelayAccess {
  url: string;
  http: RelayHttpClient;
  /** Nobody configured an address: it is the one that the agents of this home serve themselves. */
  own: boolean;
}

/** Finds the relay and its token. Nothing is asked of it yet. */
export async function openRelay(invocation: Invocation, io: Io): Promise<RelayAccess> {
  const { paths, relay, port } = await resolveRelay({
    flags: invocation.flags,
    env: io.env,
    cwd: io.cwd,
    readStdin: () => io.readStdin(),
  });
  const url = relay.url.value ?? `http://127.0.0.1:${port.value}`;
  let token = relay.token.value;
  if (token === null && /^\w+:\/\/(127\.|localhost[:/]|\[::1\])/.test(`${url}/`)) {
    try {
      token = await readTokenFile(paths.relayTokenFile);
    } catch (error) {
      // No relay of this home ever ran; one without a token may still answer.
      if (!(error instanceof RunnerError) || !/not found/.test(error.message)) throw error;
    }
  }
  return { url, http: new RelayHttpClient({ url, token }), own: relay.url.value === null };
}

/** Returns a call's value, or throws its failure in the form people get. */
export function valueOf<T>(result: CallResult<T>, url: string): T {
  if (result.ok) return result.value;
  throw relayError(result, url);
}

/** Turns a failed call into the error people get. */
export function relayError(failure: CallFailure, url: string): RunnerError {
  const where = shown(url, 200);
  if ("foreign" in failure && failure.foreign === true) return senseless(failure.message, where);
  switch (failure.kind) {
    case "auth":
      return new RunnerError("E_RELAY_AUTH", "the relay refuses the token", {
        where,
        hint: "use --token-file, or the AGENT_RELAY_HOME of the relay's owner",
      });
    case "unavailable":
      return new RunnerError("E_RELAY_UNREACHABLE", `no relay answers: ${shown(failure.message)}`, {
        where,
        hint: `start an agent ("runner claude") or "runner relay", or say --relay-url`,
      });
    case "unknown":
      if (failure.silent) {
        return new RunnerError("E_RELAY_UNREACHABLE", `the relay does not answer: ${failure.message}`, {
          where,
          hint: "whatever listens there is stopped or stuck; it may have got the request all the same",
        });
      }
      return senseless(failure.message, where);
    case "rejected": {
      const code = failure.code === "E_NOT_FOUND"
        ? "E_NOT_FOUND"
        : failure.code === "E_UNPROCESSABLE"
        ? "E_TARGET"
        : "E_RELAY_REFUSED";
      return new RunnerError(code, shown(failure.message, 200));
    }
  }
}

function senseless(message: string, where: string): RunnerError {
  return new RunnerError("E_RELAY_REPLY", `the relay's answer makes no sense: ${shown(message)}`, {
    where,
    hint: "is this the address of an agent relay?",
  });
}

/** The one agent a person means by its id, runner id or `label:X`. Throws `E_NO_RECIPIENT`, `E_TARGET`. */
export async function oneAgent(access: RelayAccess, target: string): Promise<AgentCard> {
  const agents = valueOf(await access.http.listAgents(), access.url);
  return theOneMeant(
    agents.map((card) => ({
      agent: card,
      names: [card.id, card.componentId],
      label: card.label ?? null,
      there: card.status !== "offline",
    })),
    target,
  );
}

/** An agent as it can be named. */
export interface Nameable<T> {
  agent: T;
  /** Its agent id, then its runner's. */
  names: readonly string[];
  label: string | null;
  /** False for one that has ended: a namesake that is there is meant then. */
  there: boolean;
}

/** The one agent that an id or `label:X` means. Throws `E_NO_RECIPIENT`, `E_TARGET`. */
export function theOneMeant<T>(agents: readonly Nameable<T>[], target: string): T {
  if (/^(?:tag|cap):/.test(target) || target === "broadcast") {
    throw new RunnerError("E_TARGET", `"${shown(target)}" may mean several agents`, {
      hint: "name one by its id or label:X",
    });
  }
  const named = agents.filter(({ names, label }) =>
    names.includes(target) || (label !== null && `label:${label}` === target)
  );
  const there = named.filter((each) => each.there);
  const found = there.length > 0 ? there : named;
  if (found.length === 1) return found[0]!.agent;
  if (found.length > 1) {
    throw new RunnerError("E_TARGET", `"${shown(target)}" means ${found.length} agents`, {
      hint: `use one of ${found.map(({ names }) => names[0]).join(", ")}`,
    });
  }
  throw noRecipient(
    target,
    agents.flatMap(({ names, label }) => label === null ? [names[0]!] : [names[0]!, `label:${label}`]),
  );
}
