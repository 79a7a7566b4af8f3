import { lines } from "../../lib/base/bytes.ts";

/** Something the relay told its event stream, with the moment it arrived here. */
export interface Seen {
  event: string;
  data: Record<string, unknown>;
  at: number;
}

/** Hears everything that happens at a relay, from outside, until it is closed. */
export async function hearEvents(
  url: string,
  token: string,
  listener: (seen: Seen) => void,
): Promise<{ close(): Promise<void> }> {
  const abort = new AbortController();
  const response = await fetch(`${url}/api/events`, {
    headers: { authorization: `Bearer ${token}` },
    signal: abort.signal,
  });
  if (!response.ok) throw new Error(`no event stream: status ${response.status}`);
  let event = "";
  const reading = (async () => {
    try {
      for await (const line of lines(response.body!, { maxLineBytes: 1024 * 1024 })) {
        if (line.kind !== "line") continue;
        if (line.text.startsWith("event: ")) event = line.text.slice(7);
        if (line.text.startsWith("data: ")) {
          listener({ event, data: JSON.parse(line.text.slice(6)), at: performance.now() });
        }
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
  })();
  return {
    async close() {
      abort.abort();
      await reading;
    },
  };
}
