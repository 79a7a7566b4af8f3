import type { StoredItem, StoredTurn } from "./fake_threads.ts";

/** How a turn ended. */
export interface TurnEnd {
  status: "completed" | "failed";
  error?: { message: string; codexErrorInfo?: unknown };
}

/** Plays the model for one turn; what it sees is in `turn.inputs`. The signal aborts when the turn is cut off. */
export type FakeModel = (turn: FakeTurn) => Promise<TurnEnd>;

interface TurnPorts {
  item(phase: "started" | "completed", item: StoredItem): void;
  approve(method: string, params: Record<string, unknown>): Promise<unknown>;
  changed(): void;
}

/** A turn under way, for the script that plays the model. */
export class FakeTurn {
  readonly inputs: { clientId: string | null; text: string }[] = [];
  readonly #abort = new AbortController();
  readonly #ports: TurnPorts;
  #items = 0;

  constructor(readonly threadId: string, readonly stored: StoredTurn, ports: TurnPorts) {
    this.#ports = ports;
  }

  get id(): string {
    return this.stored.id;
  }

  /** Aborts when the turn is interrupted or the server dies. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Text of everything the turn was given. */
  get text(): string {
    return this.inputs.map((input) => input.text).join("\n");
  }

  /** Resolves with how the turn ended, null when it was cut off. */
  async run(model: FakeModel): Promise<TurnEnd | null> {
    try {
      const end = await model(this);
      return this.signal.aborted ? null : end;
    } catch (error) {
      return this.signal.aborted ? null : { status: "failed", error: { message: String(error) } };
    }
  }

  /** Cuts the turn off. */
  abandon(): void {
    this.#abort.abort(new Error("the turn was cut off"));
  }

  /** Waits; rejects when the turn is cut off. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        reject(this.signal.reason);
      };
      if (this.signal.aborted) return reject(this.signal.reason);
      const timer = setTimeout(() => {
        this.signal.removeEventListener("abort", stop);
        resolve();
      }, ms);
      this.signal.addEventListener("abort", stop, { once: true });
    });
  }

  /** Shows an item at once, started and completed. */
  item(item: StoredItem): void {
    this.#ports.item("started", item);
    this.stored.items.push(item);
    this.#ports.changed();
    this.#ports.item("completed", item);
  }

  /** The model's text: begun, then completed after `ms`. */
  async say(text: string, ms = 0): Promise<void> {
    const item: StoredItem = { type: "agentMessage", id: `msg_${++this.#items}`, text: "" };
    this.#ports.item("started", item);
    if (ms > 0) await this.pause(ms);
    this.signal.throwIfAborted();
    this.stored.items.push({ ...item, text });
    this.#ports.changed();
    this.#ports.item("completed", { ...item, text });
  }

  /** A command of the model. */
  command(command: string): void {
    this.item({ type: "commandExecution", id: `call_${++this.#items}`, command, status: "completed" });
  }

  /** Asks the clients for an approval and resolves with the decision. */
  approve(command: string): Promise<unknown> {
    return this.#ports.approve("item/commandExecution/requestApproval", {
      itemId: `call_${++this.#items}`,
      kind: "command",
      command,
      availableDecisions: ["accept", "cancel"],
    });
  }
}

/**
 * A model that obeys its newest text: `[[slow MS]]` speaks slowly, `[[think MS]]` waits before the first word, `[[tool]]`
 * runs a command first, `[[approve]]` asks for one, `[[fail INFO]]` fails the turn, `[[hang]]` never ends; else it
 * answers `fake: <end of the text>`.
 */
export const obeyText: FakeModel = async (turn) => {
  const { text } = turn;
  const number = (name: string) => Number(new RegExp(`\\[\\[${name} (\\d+)\\]\\]`).exec(text)?.[1] ?? 0);
  const fail = /\[\[fail (\w+)\]\]/.exec(text)?.[1];
  if (number("think") > 0) await turn.pause(number("think"));
  if (fail !== undefined) {
    return { status: "failed", error: { message: `fake ${fail}`, codexErrorInfo: fail } };
  }
  if (/\[\[tool\]\]/.test(text)) turn.command("true");
  if (/\[\[approve\]\]/.test(text)) await turn.approve("touch /outside");
  if (/\[\[hang\]\]/.test(text)) await turn.pause(2 ** 31 - 1);
  await turn.say(`fake: ${text.slice(-100)}`, number("slow"));
  return { status: "completed" };
};
