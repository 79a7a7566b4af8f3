/** Output of a child with a limit on how long it may outlast the child. */
export interface Output {
  readonly stream: ReadableStream<Uint8Array>;
  /** Resolves when the stream has ended, or was ended by `close`. */
  readonly ended: Promise<void>;
  /** Ends the stream now, whoever holds the other end open. */
  close(): void;
}

/**
 * Returns a child's output as a stream that can be ended from here: a process that the child left behind may hold the
 * pipe open for ever, and the end of a child is not the end of its output.
 */
export function closable(source: ReadableStream<Uint8Array>): Output {
  const reader = source.getReader();
  const ended = Promise.withResolvers<void>();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        controller.close();
      } catch (error) {
        controller.error(error);
      }
      ended.resolve();
    },
    async cancel(reason) {
      ended.resolve();
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return {
    stream,
    ended: ended.promise,
    close() {
      // A read that waits is answered with the end.
      reader.cancel().catch(() => {});
      ended.resolve();
    },
  };
}
