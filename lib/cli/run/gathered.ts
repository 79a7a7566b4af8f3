import type { Io } from "../contract.ts";

/** Standard output on which what is said in one moment is one write: a burst says several lines a message. */
export interface GatheredOut {
  io: Io;
  /** Writes what was said so far. What is not flushed is written at the end of the running task. */
  flush(): void;
}

/** Returns `io` with its standard output gathered. Its order stays. */
export function gathered(io: Io): GatheredOut {
  let said = "";
  const flush = () => {
    const text = said;
    said = "";
    if (text !== "") io.out(text);
  };
  const out = (text: string) => {
    if (said === "") queueMicrotask(flush);
    said += text;
  };
  return { io: { ...io, out }, flush };
}
