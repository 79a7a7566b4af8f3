import { join } from "@std/path";
import { writeFileAtomic } from "../base/private_file.ts";

const FILE = "conversations.json";
const LIMIT = 8;

/**
 * Ids of the conversations that messages went to, newest first, across runs. A delivery of a dead runner may be in one
 * that the person had left by then, where a look into the present one would not find it.
 */
export class ConversationMemory {
  readonly #path: string;
  #ids: string[];

  constructor(stateDir: string) {
    this.#path = join(stateDir, FILE);
    this.#ids = read(this.#path);
  }

  get ids(): readonly string[] {
    return this.#ids;
  }

  /** Notes a conversation before anything is delivered there. Throws when it cannot be written. */
  note(conversation: string): void {
    if (this.#ids[0] === conversation) return;
    this.#ids = [conversation, ...this.#ids.filter((id) => id !== conversation)].slice(0, LIMIT);
    writeFileAtomic(this.#path, JSON.stringify(this.#ids) + "\n");
  }
}

/** A broken file is as good as none: what it holds is a help, not the record. */
function read(path: string): string[] {
  try {
    const ids = JSON.parse(Deno.readTextFileSync(path)) as unknown;
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(0, LIMIT) : [];
  } catch {
    return [];
  }
}
