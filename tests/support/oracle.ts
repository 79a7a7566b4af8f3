/**
 * Append-only record of what a far end saw, written by that far end itself: a checker believes it and nothing that the
 * product says. Every line is on disk before `append` returns, so that a SIGKILL cannot take it back.
 */
export class OracleFile {
  readonly #file: Deno.FsFile;

  constructor(path: string) {
    this.#file = Deno.openSync(path, { append: true, create: true });
  }

  /** Adds one line with the wall-clock time. */
  append(event: Record<string, unknown>): void {
    const line = JSON.stringify({ at: Date.now(), ...event }) + "\n";
    this.#file.writeSync(new TextEncoder().encode(line));
    this.#file.syncDataSync();
  }

  close(): void {
    this.#file.close();
  }
}

/** One line of a provider's oracle. */
export type AgentRecord =
  & { at: number; pid: number }
  & (
    /** The process runs. */
    | { type: "start"; resume: string | null }
    /** A message arrived on the channel. */
    | { type: "accepted"; deliveryId: string }
    /** The model was asked with this message in its input: it saw it. `marks` are the marks found in the text. */
    | { type: "seen"; deliveryId: string; marks: string[]; redelivery: number }
    /** The turn of these messages ended. */
    | { type: "ended"; deliveryId: string; how: "done" | "failed" | "cancelled" }
  );

/** Reads an oracle file; the last line may be cut, as its writer may have been killed. */
export function readOracle<T = AgentRecord>(path: string): T[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as T];
    } catch {
      return [];
    }
  });
}

/** The mark that a chaos message carries in its body, so that it is known again whatever its ids are. */
export const MARK = /\bmark-[0-9a-z]+-\d+\b/g;

/** Finds the marks and the redelivery count of the frames in a text that a model was given. */
export function marksOf(text: string): { marks: string[]; redelivery: number } {
  const redelivery = Math.max(
    0,
    ...[...text.matchAll(/ redelivery=(\d+) /g)].map((match) => Number(match[1])),
  );
  return { marks: [...new Set(text.match(MARK) ?? [])], redelivery };
}
