/** Items with which an answer ends or goes on by itself; all others are calls of tools. */
const SPOKEN = new Set(["agentMessage", "reasoning", "plan", "contextCompaction"]);

/** Where the newest answer of the model is. */
type Answering =
  /** It is under way. */
  | "asked"
  /** It is under way and has called a tool. */
  | "called"
  /** It is complete. */
  | "answered"
  /** It is under way, and was counted when the one before it called a tool. */
  | "counted"
  /** As before, and it has called a tool itself. */
  | "counted, called";

/**
 * Counts the answers of the model within one turn (Codex 0.169.0). Token usage comes once for every answer (measured).
 * An answer that called a tool is followed by another question to the model: that one is counted right away, so that a
 * limit stops it before it has cost anything. The call and the usage come in either order.
 */
export class AnswerCount {
  readonly #told: () => void;
  /** Ids of the calls so far: each is told of twice, at its start and its end. */
  readonly #calls = new Set<string>();
  #state: Answering = "asked";

  /** `told` is called once for every answer. */
  constructor(told: () => void) {
    this.#told = told;
  }

  /** Takes an item that the model produced. */
  item(type: string, id: string): void {
    if (SPOKEN.has(type) || this.#calls.has(id)) return;
    this.#calls.add(id);
    switch (this.#state) {
      case "asked":
        this.#state = "called";
        return;
      case "counted":
        this.#state = "counted, called";
        return;
      case "answered":
        return this.#asksAgain();
      case "called":
      case "counted, called":
        return;
    }
  }

  /** Takes a token usage. */
  usage(): void {
    switch (this.#state) {
      case "asked":
      case "answered":
        this.#told();
        this.#state = "answered";
        return;
      case "called":
        this.#told();
        return this.#asksAgain();
      case "counted":
        this.#state = "answered";
        return;
      case "counted, called":
        return this.#asksAgain();
    }
  }

  #asksAgain(): void {
    this.#told();
    this.#state = "counted";
  }
}
