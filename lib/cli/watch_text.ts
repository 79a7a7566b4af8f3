import type { RelayHttpClient } from "agent-relay-sdk";
import { shown } from "../base/errors.ts";
import type { Io } from "./contract.ts";
import { foreignText } from "./foreign_text.ts";
import { type Style, styleFor } from "./style.ts";

/** Stages that a person who watches is told of; the others come in between within milliseconds. */
const TOLD = new Set(["claimed", "done", "dead", "failed", "retry", "held", "skipped", "expired"]);
const BAD = new Set(["dead", "failed", "expired"]);
const EXCERPT = 300;
/** Messages that are remembered as told. */
const REMEMBERED = 1_000;

/** Turns what happens in a run into text: the agent's words as they are, the rest as lines of its own. */
export class RunWatch {
  readonly #style: Style;
  readonly #http: Pick<RelayHttpClient, "getMessage">;
  readonly #terminal: boolean;
  readonly #told = new Set<unknown>();
  #column = 0;

  constructor(
    { color, outIsTerminal }: Pick<Io, "color" | "outIsTerminal">,
    http: Pick<RelayHttpClient, "getMessage">,
  ) {
    this.#style = styleFor(color);
    this.#terminal = outIsTerminal;
    this.#http = http;
  }

  /** Returns the text of an event; what came with a message is asked of the relay, once for each. */
  async of(event: Record<string, unknown>): Promise<string> {
    const { dim, yellow, red } = this.#style;
    switch (event.type) {
      case "start":
        return this.#line(dim(`-- ${event.agentId} (${event.provider}), ${event.relayUrl ?? "no relay"}`));
      case "output": {
        const text = foreignText(String(event.text), { outIsTerminal: this.#terminal });
        if (text !== "") this.#column = text.endsWith("\n") ? 0 : 1;
        return text;
      }
      case "stage":
        return await this.#stage(event);
      case "log":
        if (event.level !== "warn" && event.level !== "error") return "";
        return this.#line(
          (event.level === "error" ? red : yellow)(`-- ${shown(String(event.message), EXCERPT)}`),
        );
      case "dropped":
        return this.#line(yellow(`-- ${event.events} events were left out`));
      case "end":
        return this.#line(dim(`-- ${shown(String(event.reason), EXCERPT)}`));
      default:
        return "";
    }
  }

  async #stage({ messageId, stage, evidence }: Record<string, unknown>): Promise<string> {
    const name = messageId === null ? "the prompt" : `message ${messageId}`;
    let text = "";
    if (!this.#told.has(messageId)) {
      if (this.#told.size >= REMEMBERED) this.#told.clear();
      this.#told.add(messageId);
      text += this.#line(this.#style.bold(`>> ${name}${await this.#excerpt(messageId)}`));
    }
    if (typeof stage !== "string" || !TOLD.has(stage)) return text;
    const because = typeof evidence === "string" && stage !== "done" ? `: ${shown(evidence, EXCERPT)}` : "";
    const paint = BAD.has(stage) ? this.#style.red : this.#style.dim;
    return text + this.#line(paint(`-- ${name} is ${stage}${because}`));
  }

  async #excerpt(messageId: unknown): Promise<string> {
    if (typeof messageId !== "number") return "";
    const found = await this.#http.getMessage(messageId);
    if (!found.ok) return "";
    const { from, body } = found.value;
    return ` from ${shown(from)}: ${shown(body, EXCERPT)}`;
  }

  /** A line of its own, wherever the agent's words have ended. */
  #line(text: string): string {
    const before = this.#column === 0 ? "" : "\n";
    this.#column = 0;
    return `${before}${text}\n`;
  }
}
