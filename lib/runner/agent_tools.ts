import { type Clock, delay } from "../base/clock.ts";
import { messageOf, RunnerError, shown } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { AgentCard, Message, Receipt, SendResult } from "../protocol/message.ts";
import { readToolCall, type ToolCall, type ToolResult, type ToolSpec } from "../protocol/tools.ts";
import type { CallFailure, CallResult, RelayHttp } from "../sdk/contract.ts";
import { noRecipient } from "../sdk/no_recipient.ts";
import { sendOnce } from "../sdk/send_once.ts";
import { answerIn, type Missing, PROGRESS_KIND, progressOf, stateOf } from "../sdk/progress.ts";
import { AnswerDoor, type AwaitedAnswer } from "./answer_door.ts";

const POLL_MS = 25_000;
const RETRY_MS = 500;
/** Agents that an answer names; a model has no use for more. */
const NAMED = 200;

type Call<T extends ToolCall["tool"]> = Extract<ToolCall, { tool: T }>;

/** How a wait for an answer ended. */
type WaitEnd =
  | { kind: "answer"; answer: Message }
  /** It cannot come any more. */
  | { kind: "failed"; reason: string }
  | { kind: "late"; missing: readonly Missing[] };

/** What the tools work with. */
export interface AgentToolsOptions {
  agentId: string;
  http: Pick<RelayHttp, "send" | "getMessage" | "receipt" | "listAgents" | "markRead">;
  /** Returns a message as data from a peer, in a frame of its own (S-10). */
  frame(message: Message): string;
  /** True while this agent has the message and has not ended it. */
  isOpen(message: Message): boolean;
  /** Hands a message on to the runner, as if it had just come. */
  deliver(message: Message): void;
  clock: Clock;
  log: Log;
}

/**
 * Carries out what an agent does on the bus by itself: always under its own id, with its own token. What others wrote
 * comes back in frames. What goes wrong is a result with a hint for the model.
 */
export class AgentTools {
  readonly #options: AgentToolsOptions;
  readonly #door: AnswerDoor;

  constructor(options: AgentToolsOptions) {
    this.#options = options;
    this.#door = new AnswerDoor(options.deliver);
  }

  /** True when the message is an answer that a call waits for: the runner has nothing to do with it. */
  takes(message: Message): boolean {
    return this.#door.takes(message);
  }

  /** Carries a call out. Rejects only with the signal's reason; what was sent by then is sent. */
  async call(name: ToolSpec["name"], args: unknown, signal: AbortSignal): Promise<ToolResult> {
    signal.throwIfAborted();
    const call = readToolCall(name, args);
    if (!call.ok) return failed(call.reason);
    try {
      switch (call.value.tool) {
        case "relay_send":
          return await this.#send(call.value, signal);
        case "relay_reply":
          return await this.#reply(call.value, signal);
        case "relay_agents":
          return await this.#agents(signal);
        case "relay_receipt":
          return await this.#receipt(call.value, signal);
      }
    } catch (error) {
      if (error instanceof RunnerError) return failed(error.message, error.hint);
      throw error;
    }
  }

  async #send(call: Call<"relay_send">, signal: AbortSignal): Promise<ToolResult> {
    const { to, subject, claimable, wait_reply_seconds: seconds } = call;
    // A turn that waits for its own next turn waits in vain, and one that calls itself goes on for ever.
    if (to === this.#options.agentId) return failed(`"${shown(to)}" is you`, "relay_agents lists the others");
    const input = {
      from: this.#options.agentId,
      to,
      body: call.text,
      ...(subject === undefined ? {} : { subject }),
      ...(claimable === undefined ? {} : { claimable }),
      ...(seconds === undefined ? {} : { replyExpected: true }),
      when: "idle" as const,
      idempotencyKey: crypto.randomUUID(),
    };
    const send = () => sendOnce(this.#options.http, input, signal);
    if (seconds === undefined || seconds === 0) {
      const { message, recipients } = this.#accepted(await send(), to);
      const answer = seconds === undefined ? "" : " The answer comes as a message.";
      return done(`message ${message.id} was sent to ${named(recipients)}.${answer}`);
    }
    const [sent, awaited] = await this.#door.sent(
      send,
      (result) => result.ok ? result.value.message.id : null,
    );
    const { message, recipients } = this.#accepted(sent, to);
    return await this.#answer(message, { recipients, awaited: awaited!, waitMs: seconds * 1_000, signal });
  }

  #accepted(sent: CallResult<SendResult>, to: string): SendResult {
    if (sent.ok) return sent.value;
    if (sent.kind !== "rejected" || sent.code !== "E_NO_RECIPIENT") throw relayFailure(sent);
    throw noRecipient(to, sent.candidates ?? [], { sender: this.#options.agentId });
  }

  async #answer(
    message: Message,
    { recipients, awaited, waitMs, signal }: {
      recipients: readonly string[];
      awaited: AwaitedAnswer;
      waitMs: number;
      signal: AbortSignal;
    },
  ): Promise<ToolResult> {
    const over = new AbortController();
    const late = this.#options.clock.setTimer(waitMs, () => over.abort(new Error("no answer in time")));
    try {
      const end = await Promise.race([
        awaited.came.then((answer): WaitEnd => ({ kind: "answer", answer })),
        this.#watch(message.id, AbortSignal.any([signal, over.signal])),
      ]);
      signal.throwIfAborted();
      const told = `message ${message.id} was sent to ${named(recipients)}`;
      switch (end.kind) {
        case "answer":
          awaited.take(end.answer);
          this.#ack(end.answer);
          return done(`the answer to message ${message.id}:\n${this.#options.frame(end.answer)}`);
        case "failed":
          return failed(`${told}, which will not answer: ${end.reason}`, "relay_receipt says more");
        case "late": {
          const why = await this.#explain(end.missing, signal);
          return done(
            `${told}. No answer within ${waitMs / 1_000} s${why}. When there is one it comes as a message.`,
          );
        }
      }
    } finally {
      late();
      over.abort();
      awaited.end();
    }
  }

  /** Follows the receipt until it shows the answer, or that none can come. Never rejects; an abort is the end of time. */
  async #watch(messageId: number, signal: AbortSignal): Promise<WaitEnd> {
    let missing: readonly Missing[] = [];
    for (let after = 0;;) {
      let result: CallResult<Receipt>;
      try {
        result = await this.#options.http.receipt(messageId, { after, waitMs: POLL_MS, signal });
        // The relay may be changing hands; what was sent is stored and the wait goes on.
        if (!result.ok) await delay(this.#options.clock, RETRY_MS, signal);
      } catch {
        return { kind: "late", missing };
      }
      if (!result.ok) continue;
      const answer = answerIn(result.value);
      if (answer !== null) return { kind: "answer", answer };
      const progress = progressOf(result.value, "done");
      if (progress.state === "failed") {
        return { kind: "failed", reason: `${progress.agentId} ${progress.reason}` };
      }
      if (progress.state === "waiting") missing = progress.missing;
      after = result.value.version;
    }
  }

  /** The model has it with the result of its call; the relay need not keep it. */
  #ack(answer: Message): void {
    const { http, agentId, log } = this.#options;
    http.markRead(answer.id, agentId).then(
      (result) => {
        if (!result.ok) {
          log.warn("an answer could not be acked and may come again", { reason: result.message });
        }
      },
      (error) => log.warn("an answer could not be acked", { error: messageOf(error) }),
    );
  }

  /** One clause about the recipients that are not done. */
  async #explain(missing: readonly Missing[], signal: AbortSignal): Promise<string> {
    if (missing.length === 0) return "";
    const listed = await this.#options.http.listAgents({}, signal);
    const clauses = missing.slice(0, 3).map(({ agentId, reached }) => {
      const state = listed.ok ? stateOf(listed.value.find(({ id }) => id === agentId)) : null;
      return `${agentId} got as far as "${reached ?? "not received"}"${
        state === null ? "" : ` and ${shown(state)}`
      }`;
    });
    return `: ${clauses.join("; ")}`;
  }

  async #reply(call: Call<"relay_reply">, signal: AbortSignal): Promise<ToolResult> {
    const { agentId, http } = this.#options;
    const found = await http.getMessage(call.message_id, signal);
    const message = this.#one(found, call.message_id);
    const ours = message.recipients?.includes(agentId) === true || message.to === agentId;
    if (!ours) throw notYours(call.message_id, "you got");
    if (message.claimable && message.claimedBy !== undefined && message.claimedBy !== agentId) {
      return failed(`message ${message.id} is work that another agent has`);
    }
    const reply = await sendOnce(http, {
      from: agentId,
      to: message.from,
      replyTo: message.id,
      // Whoever waits for the answer goes on waiting while the turn that makes it is under way.
      kind: this.#options.isOpen(message) ? PROGRESS_KIND : "reply",
      body: call.text,
      idempotencyKey: crypto.randomUUID(),
    }, signal);
    const sent = this.#accepted(reply, message.from);
    return done(
      `message ${sent.message.id} was sent to ${shown(message.from)}, in the thread of ${message.id}.`,
    );
  }

  async #agents(signal: AbortSignal): Promise<ToolResult> {
    const listed = await this.#options.http.listAgents({}, signal);
    if (!listed.ok) throw relayFailure(listed);
    const there = listed.value.filter(({ status }) => status !== "offline");
    const lines = there.slice(0, NAMED).map((card) => JSON.stringify(this.#agent(card)));
    if (there.length > NAMED) lines.push(`and ${there.length - NAMED} more`);
    return done(lines.join("\n"));
  }

  #agent({ id, label, status, ready, tags, capabilities }: AgentCard): Record<string, unknown> {
    return {
      id: shown(id),
      ...(label === undefined ? {} : { label: shown(label) }),
      status,
      ready,
      tags: tags.map((each) => shown(each)),
      capabilities: capabilities.map((each) => shown(each)),
      ...(id === this.#options.agentId ? { you: true } : {}),
    };
  }

  async #receipt(call: Call<"relay_receipt">, signal: AbortSignal): Promise<ToolResult> {
    const receipt = this.#one(await this.#options.http.receipt(call.message_id, { signal }), call.message_id);
    const { message, recipients, replies } = receipt;
    if (message.from !== this.#options.agentId) throw notYours(call.message_id, "you sent");
    const lines = recipients.slice(0, NAMED).map(({ agentId, read, dead, reports }) => {
      const stages = reports.map(({ stage }) => stage).join(", ");
      const end = dead === true ? ", given up, a person decides" : read ? ", read" : "";
      return `${shown(agentId)}: ${stages === "" ? "not received yet" : stages}${end}`;
    });
    if (recipients.length === 0) lines.push("nobody was there for it yet");
    if (recipients.length > NAMED) lines.push(`and ${recipients.length - NAMED} more`);
    for (const reply of replies.slice(0, NAMED)) {
      lines.push(`${reply.kind} ${reply.id} from ${shown(reply.from)}`);
    }
    return done(`message ${message.id} to ${shown(message.to)}\n${lines.join("\n")}`);
  }

  #one<T>(found: CallResult<T>, messageId: number): T {
    if (found.ok) return found.value;
    const refused = found.kind === "auth" && found.status === 403;
    if (refused || (found.kind === "rejected" && found.status === 404)) {
      throw notYours(messageId, "you sent or got");
    }
    throw relayFailure(found);
  }
}

function done(text: string): ToolResult {
  return { text, isError: false };
}

function failed(message: string, hint?: string): ToolResult {
  return { text: hint === undefined ? message : `${message}. ${hint}`, isError: true };
}

function named(recipients: readonly string[]): string {
  if (recipients.length === 0) return "nobody yet, it is kept";
  const more = recipients.length - NAMED;
  return recipients.slice(0, NAMED).map((each) => shown(each)).join(", ") +
    (more > 0 ? ` and ${more} more` : "");
}

function notYours(messageId: number, how: string): RunnerError {
  return new RunnerError("E_NOT_FOUND", `there is no message ${messageId} that ${how}`, {
    hint: "the id of a message is in its frame, or in the result of relay_send",
  });
}

function relayFailure(failure: CallFailure): RunnerError {
  const reason = shown(failure.message, 200);
  switch (failure.kind) {
    case "rejected":
      return new RunnerError("E_RELAY_REFUSED", `the relay refused it: ${reason}`, {
        hint: "the same call would be refused again",
      });
    case "auth":
      return new RunnerError("E_RELAY_AUTH", `the relay does not allow it: ${reason}`, {
        hint: "this session has no right to it; your user can do it with runner",
      });
    case "unavailable":
      return new RunnerError("E_RELAY_UNREACHABLE", `the relay is not there: ${reason}`, {
        hint: "nothing was sent; try again later",
      });
    case "unknown":
      return new RunnerError("E_RELAY_REPLY", `the relay gave no answer: ${reason}`, {
        hint: "it may have been done all the same",
      });
  }
}
