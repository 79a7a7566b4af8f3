import { hmacSha256 } from "../base/hash.ts";
import { RunnerError } from "../base/errors.ts";
import { sameSecret } from "../base/secret.ts";

/** Who calls: the owner of the relay's token (a person, a runner before it registered), or one agent. */
export type Caller = { kind: "operator" } | { kind: "agent"; agentId: string };

const PREFIX = "ara_";

/** Tells callers apart by their token. */
export class RelayAuth {
  readonly #token: string | null;
  readonly #key: Uint8Array;
  readonly #epochOf: (agentId: string) => number | undefined;

  /** `token` null opens the relay: whoever shows no token is the operator. */
  constructor(options: {
    token: string | null;
    key: Uint8Array;
    epochOf(agentId: string): number | undefined;
  }) {
    this.#token = options.token;
    this.#key = options.key;
    this.#epochOf = options.epochOf;
  }

  /** Token with which a caller can only speak as this registration of the agent. */
  agentToken(agentId: string, epoch: number): string {
    return `${PREFIX}${agentId}.${epoch}.${this.#mac(agentId, epoch)}`;
  }

  /** The caller of a request, or null when its token is missing or wrong. */
  identify(headers: Headers): Caller | null {
    const bearer = /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    const given = headers.get("x-agent-relay-token") ?? bearer;
    if (given === undefined || given === null) return this.#token === null ? { kind: "operator" } : null;
    if (given.startsWith(PREFIX)) {
      const agentId = this.#agentOf(given);
      return agentId === null ? null : { kind: "agent", agentId };
    }
    if (this.#token === null || sameSecret(given, this.#token)) return { kind: "operator" };
    return null;
  }

  #agentOf(token: string): string | null {
    const match = /^ara_(.+)\.(\d{1,15})\.([0-9a-f]{64})$/.exec(token);
    if (!match) return null;
    const agentId = match[1]!;
    const epoch = Number(match[2]);
    if (!sameSecret(match[3]!, this.#mac(agentId, epoch))) return null;
    // A newer registration of the agent fences the tokens of the one before.
    return this.#epochOf(agentId) === epoch ? agentId : null;
  }

  #mac(agentId: string, epoch: number): string {
    return hmacSha256(this.#key, `${agentId}\n${epoch}`).toHex();
  }
}

/** The agent that a caller is held to, null for the operator. */
export function boundTo(caller: Caller): string | null {
  return caller.kind === "agent" ? caller.agentId : null;
}

/** Throws `E_FORBIDDEN` when the caller may not speak as this agent. */
export function mustBe(caller: Caller, agentId: string): void {
  if (caller.kind === "agent" && caller.agentId !== agentId) {
    throw new RunnerError("E_FORBIDDEN", `this token speaks only as ${caller.agentId}`);
  }
}

/** Throws `E_FORBIDDEN` unless the caller has the relay's own token. */
export function mustBeOperator(caller: Caller): void {
  if (caller.kind !== "operator") throw new RunnerError("E_FORBIDDEN", "this needs the relay's own token");
}
