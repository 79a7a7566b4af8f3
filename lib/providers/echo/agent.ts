import { lines } from "../../base/bytes.ts";
import { ECHO_LINE_LIMIT, type EchoInput, type EchoOutput } from "./protocol.ts";

/**
 * The built-in agent: answers every message with its text. Runs as a real child process.
 *
 * It writes each delivery id to `record` before it says `seen`, as real agents keep a transcript, so that a
 * runner that was killed can learn what was handled.
 */
export async function runEchoAgent(
  input: ReadableStream<Uint8Array>,
  output: WritableStream<Uint8Array>,
  record: (deliveryId: string) => void,
): Promise<void> {
  const writer = output.getWriter();
  const encoder = new TextEncoder();
  const say = (message: EchoOutput) => writer.write(encoder.encode(JSON.stringify(message) + "\n"));
  await say({ type: "ready" });
  for await (const line of lines(input, { maxLineBytes: ECHO_LINE_LIMIT })) {
    if (line.kind !== "line") continue;
    const request = JSON.parse(line.text) as EchoInput;
    if (request.type === "stop") return;
    const { deliveryId, text } = request;
    void say({ type: "placed", deliveryId });
    record(deliveryId);
    void say({ type: "seen", deliveryId });
    await say({ type: "done", deliveryId, text: `echo: ${bodyOf(text)}` });
  }
}

/** Returns the body of a framed message; text that is not a frame is returned whole. */
function bodyOf(text: string): string {
  const framed = /^<relay-message [^\n]*>\n?([\s\S]*?)\n?<\/relay-message nonce=[^\n>]*>\s*$/.exec(
    text.trim(),
  );
  return framed?.[1] ?? text;
}
