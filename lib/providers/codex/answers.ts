/** Items with which an answer ends or goes on by itself; all others are calls of tools. */
const SPOKEN = new Set(["agentMessage", "reasoning", "plan", "contextCompaction"]);

/**
 * Counts the answers of the model within one turn (Codex 0.169.0). Token usage comes once for every answer (measured).
 * An answer that called a tool is followed by another question to the model: that one is counted right away, so that a
 * limit stops it before it has cost anything. The call and the usage come in either order.
 */
export class AnswerCount {
  readonly #told: () => void;
  /** Ids of the calls so far: each is told of twice, at its start and its end. */
  readonly #calls = new Set<string>();
  /** The answer under way was counted when the one before it called a tool. */
  #counted = false;
  /** The newest answer is complete. */
  #answered = false;
  /** The newest answer called a tool. */
  #called = false;

  /** `told` is called once for every answer. */
  constructor(told: () => void) {
    this.#told = told;
  }

  /** Takes an item that the model produced. */
  item(type: string, id: string): void {
    if (SPOKEN.has(type) || this.#calls.has(id)) return;
    this.#calls.add(id);
    this.#called = true;
    this.#asksAgain();
  }

  /** Takes a token usage. */
  usage(): void {
    this.#answered = true;
    if (!this.#counted) this.#told();
    this.#counted = false;
    this.#asksAgain();
  }

  #asksAgain(): void {
    if (!this.#answered || !this.#called) return;
    this.#told();
    this.#answered = this.#called = false;
    this.#counted = true;
  }
}
