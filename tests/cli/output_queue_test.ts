import { assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { OutputQueue, type OutputSink } from "../../lib/cli/run/output_queue.ts";

/** A reader that takes what it is let take. */
class Reader implements OutputSink {
  text = "";
  writes = 0;
  #open = Promise.withResolvers<void>();
  fails: Error | null = null;

  constructor(reads: boolean) {
    if (reads) this.#open.resolve();
  }

  read(): void {
    this.#open.resolve();
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    await this.#open.promise;
    if (this.fails !== null) throw this.fails;
    // Less than it was given, as a pipe may.
    const part = bytes.subarray(0, Math.max(1, Math.ceil(bytes.length / 2)));
    this.text += new TextDecoder().decode(part);
    return part.length;
  }
}

function queueOf(reader: Reader, limit?: number): { queue: OutputQueue; troubles: string[] } {
  const troubles: string[] = [];
  const queue = new OutputQueue({
    sink: reader,
    clock: systemClock,
    dropped: (characters) => `[${characters}]`,
    trouble: (why) => troubles.push(why),
    ...(limit === undefined ? {} : { limit }),
  });
  return { queue, troubles };
}

Deno.test("an output is written in its order, what is said in one moment in one write, and all of it at the end", async () => {
  const reader = new Reader(true);
  const { queue, troubles } = queueOf(reader);
  queue.write("a\n");
  queue.write("");
  queue.write("b\n");
  assertEquals([reader.text, reader.writes], ["", 0]);
  await queue.end(1_000);
  assertEquals(reader.text, "a\nb\n");
  const long = "0123456789".repeat(50_000);
  queue.write(long);
  queue.write("c");
  await queue.end(1_000);
  assertEquals(reader.text, `a\nb\n${long}c`);
  assertEquals([queue.trouble, troubles], [null, []]);
  await queue.end(1_000);
});

Deno.test("an output that nobody reads keeps what its bound allows, says what it dropped, and never drops the last words", async () => {
  const reader = new Reader(false);
  const { queue, troubles } = queueOf(reader, 10);
  queue.write("1");
  // Under way from now on.
  await Promise.resolve();
  queue.write("23456");
  queue.write("78901");
  queue.write("too long");
  queue.write("as well");
  assertEquals(troubles, ["nobody reads it"]);
  queue.last();
  queue.write("the result, which is longer than the bound");
  // Nobody reads: the end does not wait for ever, and was told already why.
  await queue.end(20);
  assertEquals([queue.trouble, troubles.length, reader.text], ["nobody reads it", 1, ""]);
  reader.read();
  await queue.end(1_000);
  assertEquals(reader.text, "12345678901[15]the result, which is longer than the bound");
});

Deno.test("one text is never too long for a reader that reads", async () => {
  const reader = new Reader(true);
  const { queue, troubles } = queueOf(reader, 10);
  queue.write("longer than what may wait");
  await queue.end(1_000);
  assertEquals([reader.text, troubles], ["longer than what may wait", []]);
});

Deno.test("an output whose disk is full loses what does not fit and goes on when there is room", async () => {
  const reader = new Reader(true);
  const { queue, troubles } = queueOf(reader);
  reader.fails = new Error("No space left on device");
  queue.write("lost");
  await queue.end(1_000);
  queue.write("too");
  await queue.end(1_000);
  assertEquals([queue.trouble, troubles], ["No space left on device", ["No space left on device"]]);
  reader.fails = null;
  queue.write("kept");
  await queue.end(1_000);
  assertEquals(reader.text, "kept");
});

Deno.test("an output whose reader has closed it takes everything and is no trouble", async () => {
  const reader = new Reader(true);
  const { queue, troubles } = queueOf(reader);
  reader.fails = new Deno.errors.BrokenPipe("gone");
  queue.write("a");
  await queue.end(1_000);
  queue.write("b");
  await queue.end(1_000);
  assertEquals([reader.writes, queue.trouble, troubles], [1, null, []]);
});
