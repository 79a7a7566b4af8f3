import { findTranscript, type Row } from "./transcript.ts";

const CHUNK_BYTES = 1024 * 1024;
/** A longer row is passed over. */
const ROW_CHARS = 16 * 1024 * 1024;
/** How much of a transcript that was there before us is read: what is older is history. */
const HISTORY_BYTES = 4 * 1024 * 1024;

/** Reads the rows that are new in one conversation's transcript, a chunk at a time. */
export class TranscriptTail {
  readonly sessionId: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #cwd: string;
  readonly #decoder = new TextDecoder();
  #path: string | null = null;
  #offset = 0;
  #rest = "";
  #skip = false;

  constructor(place: { env: Readonly<Record<string, string>>; cwd: string }, sessionId: string) {
    this.sessionId = sessionId;
    this.#env = place.env;
    this.#cwd = place.cwd;
  }

  /** Calls `take` for every complete row that came since the last call. */
  async read(take: (row: Row) => void): Promise<void> {
    if (this.#path === null) {
      this.#path = await findTranscript(this.#env, this.#cwd, this.sessionId);
      if (this.#path === null) return;
      const { size } = await Deno.stat(this.#path);
      this.#offset = Math.max(0, size - HISTORY_BYTES);
      // It begins in the middle of a row.
      this.#skip = this.#offset > 0;
    }
    const { size } = await Deno.stat(this.#path);
    if (size <= this.#offset) return;
    const file = await Deno.open(this.#path);
    try {
      await file.seek(this.#offset, Deno.SeekMode.Start);
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, size - this.#offset));
      while (this.#offset < size) {
        const read = await file.read(chunk.subarray(0, Math.min(chunk.length, size - this.#offset)));
        if (read === null) break;
        this.#offset += read;
        this.#take(this.#decoder.decode(chunk.subarray(0, read), { stream: true }), take);
      }
    } finally {
      file.close();
    }
  }

  #take(text: string, take: (row: Row) => void): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    if (this.#rest.length > ROW_CHARS) {
      this.#rest = "";
      this.#skip = true;
    }
    for (const line of lines) {
      if (this.#skip) {
        this.#skip = false;
        continue;
      }
      if (line === "") continue;
      let row: unknown;
      try {
        row = JSON.parse(line);
      } catch {
        continue;
      }
      if (typeof row === "object" && row !== null) take(row as Row);
    }
  }
}
