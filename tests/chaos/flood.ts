import { join } from "@std/path";

/**
 * Opens many connections to an agent's control server and lets them sit half open. Returns how many there were, 0 when
 * the agent has no server now.
 */
export async function flood(stateDir: string, options: { sockets: number; forMs: number }): Promise<number> {
  let port: number;
  try {
    const { url } = JSON.parse(Deno.readTextFileSync(join(stateDir, "control.json"))) as { url: string };
    port = Number(new URL(url).port);
  } catch {
    return 0;
  }
  const open: Deno.TcpConn[] = [];
  const head = new TextEncoder().encode("POST /status HTTP/1.1\r\nhost: 127.0.0.1\r\n");
  await Promise.allSettled(Array.from({ length: options.sockets }, async () => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    open.push(connection);
    await connection.write(head);
  }));
  await new Promise((resolve) => setTimeout(resolve, options.forMs));
  for (const connection of open) connection.close();
  return open.length;
}
