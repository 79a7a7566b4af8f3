import { shown } from "../base/errors.ts";

/** Characters kept; more than anybody is shown, since a secret must be whole to be found in them. */
const LIMIT = 4_000;

// deno-lint-ignore no-control-regex -- the sequences that colour a terminal
const COLOUR = /\u001b\[[0-9;]*m/g;

/**
 * What a program said last on standard error, in one line of at most 4,000 characters, before anything in it is masked:
 * from the line on that begins with "error", if one does (Codex 0.169.0 says where in the lines after it), else the last
 * line.
 */
export class LastWords {
  #text = "";
  #failed = false;

  take(line: string): void {
    const text = line.replace(COLOUR, "").trim();
    if (text === "") return;
    if (/^error\b/i.test(text)) {
      this.#failed = true;
      this.#text = text;
    } else if (this.#failed && this.#text.length < LIMIT) this.#text += ` ${text}`;
    else if (!this.#failed) this.#text = text;
  }

  /** Empty when nothing was said. */
  get text(): string {
    return shown(this.#text, LIMIT);
  }
}
