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

/** Follows an oracle file and knows which deliveries its provider has now. */
export class OracleTail {
  readonly #path: string;
  readonly #open = new Set<string>();
  #offset = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads on and returns how many deliveries are under way. */
  inFlight(): number {
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(this.#path);
    } catch {
      return 0;
    }
    const bytes = new Uint8Array(file.statSync().size - this.#offset);
    file.seekSync(this.#offset, Deno.SeekMode.Start);
    const read = file.readSync(bytes) ?? 0;
    file.close();
    const end = bytes.subarray(0, read).lastIndexOf(10) + 1;
    this.#offset += end;
    for (const line of new TextDecoder().decode(bytes.subarray(0, end)).split("\n")) {
      if (line === "") continue;
      const record = JSON.parse(line) as AgentRecord;
      if (record.type === "start") this.#open.clear();
      else if (record.type === "accepted") this.#open.add(record.deliveryId);
      else if (record.type === "ended") this.#open.delete(record.deliveryId);
    }
    return this.#open.size;
  }
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
