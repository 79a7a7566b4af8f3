/** What a hook posts to its runner. */
export interface HookPost {
  /** `http://127.0.0.1:PORT` of the runner's control server. */
  url: string;
  token: string;
  event: string;
  body: Uint8Array;
}

/**
 * Posts a hook to the control server and resolves when it was answered, whatever the answer. Rejects with the signal's
 * reason.
 *
 * Not `fetch`: loading it is a fifth of a hook's life (5 of 25 ms, Deno 2.9.6), the agent may wait for its hooks, and one
 * request to our own server on the loopback needs nothing of what it can do.
 */
export async function postHook({ url, token, event, body }: HookPost, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (/[\r\n]/.test(token)) throw new TypeError("Cannot post a hook: the token has a line break");
  const { host, hostname, port } = new URL(url);
  const head = `POST /hook/${encodeURIComponent(event)} HTTP/1.1\r\nHost: ${host}\r\n` +
    `Authorization: Bearer ${token}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  let connection: Deno.Conn | null = null;
  const post = async () => {
    connection = await Deno.connect({ hostname, port: Number(port), signal });
    await writeAll(connection, new TextEncoder().encode(head));
    await writeAll(connection, body);
    // The server closes after its answer; how it answers changes nothing here.
    const rest = new Uint8Array(1_024);
    while (await connection.read(rest) !== null);
  };
  const posting = post();
  // Not every call that is under way hears of the close: nothing waits for it.
  posting.catch(() => {});
  try {
    await Promise.race([posting, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
    aborted.promise.catch(() => {});
    (connection as Deno.Conn | null)?.close();
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}
