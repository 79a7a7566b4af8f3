import { type Clock, delay } from "../../base/clock.ts";
import { FILES } from "./log_file.ts";

/** How often a log is looked at for more. */
const LOOK_MS = 200;
const PIECE = 64 * 1024;
const NEWLINE = 10;

/** The end of a log. */
export interface LogEnd<T> {
  /** Oldest first. */
  lines: T[];
  /** Where the next line of the newest file begins. */
  next: number;
}

/** Returns the last `count` lines of a log that `keep` takes, from the rotated files as well. A log that is not there has none. */
export function lastLines<T>(path: string, count: number, keep: (line: string) => T | null): LogEnd<T> {
  const found: T[] = [];
  let next = 0;
  for (let i = 0; i < FILES; i++) {
    let bytes;
    try {
      bytes = Deno.readFileSync(i === 0 ? path : `${path}.${i}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) break;
      throw error;
    }
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (i === 0) next = end;
    const lines = new TextDecoder().decode(bytes.subarray(0, end)).split("\n");
    for (let at = lines.length - 1; at >= 0 && found.length < count; at--) {
      const line = lines[at] === "" ? null : keep(lines[at]!);
      if (line !== null) found.push(line);
    }
    if (found.length >= count) break;
  }
  return { lines: found.reverse(), next };
}

/** Reads what a log gets from a place on, also one that is not there yet; goes on in the new file when it is rotated. */
export class LogFollower {
  readonly #path: string;
  readonly #decoder = new TextDecoder();
  #file: Deno.FsFile | null = null;
  #rest = "";
  #from: number;

  constructor(path: string, from: number) {
    this.#path = path;
    this.#from = from;
  }

  /** Yields every complete line as it comes, until the signal aborts. */
  async *lines(clock: Clock, signal: AbortSignal): AsyncGenerator<string> {
    try {
      for (;;) {
        yield* this.#more();
        if (signal.aborted) return;
        await delay(clock, LOOK_MS, signal).catch(() => {});
      }
    } finally {
      this.#file?.close();
    }
  }

  *#more(): Generator<string> {
    const buffer = new Uint8Array(PIECE);
    for (;;) {
      this.#file ??= this.#open();
      if (this.#file === null) return;
      const read = this.#file.readSync(buffer);
      if (read === null) {
        if (!this.#rotated()) return;
        // What was written between the last read and the rotation is still there.
        const last = this.#file.readSync(buffer);
        if (last !== null) {
          yield* this.#take(buffer.subarray(0, last));
          continue;
        }
        this.#file.close();
        this.#file = null;
        continue;
      }
      yield* this.#take(buffer.subarray(0, read));
    }
  }

  #take(bytes: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop()!;
    return lines.filter((line) => line !== "");
  }

  #open(): Deno.FsFile | null {
    try {
      const file = Deno.openSync(this.#path);
      // A file that is shorter is not the one in which that place was.
      if (this.#from <= file.statSync().size) file.seekSync(this.#from, Deno.SeekMode.Start);
      this.#from = 0;
      return file;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  /** True when the path names another file by now, or none. */
  #rotated(): boolean {
    const own = this.#file!.statSync();
    try {
      const there = Deno.statSync(this.#path);
      return there.ino !== own.ino || there.size < own.size;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return true;
      throw error;
    }
  }
}
