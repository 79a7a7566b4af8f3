import type { RelayService } from "./service.ts";

/** Bytes that may wait for a reader; a slower one is cut off and may come again. */
const BUFFERED = 4 * 1024 * 1024;
const PING_MS = 20_000;

/** Answers with everything that happens at the relay, as server-sent events, until the reader leaves. */
export function eventStream(service: RelayService): Response {
  const encoder = new TextEncoder();
  let stop = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => {
        if ((controller.desiredSize ?? 0) < 0) return end();
        controller.enqueue(encoder.encode(text));
      };
      const end = () => {
        stop();
        try {
          controller.close();
        } catch { /* the reader left */ }
      };
      let cancelPing = () => {};
      const pingLater = () => {
        cancelPing = service.clock.setTimer(PING_MS, () => {
          pingLater();
          write(": ping\n\n");
        });
      };
      pingLater();
      const silence = service.listen(({ event, data }) => {
        write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
        if (event === "relay.stopping") end();
      });
      stop = () => {
        cancelPing();
        silence();
      };
      write(": events follow\n\n");
    },
    cancel() {
      stop();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: BUFFERED }));
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}
