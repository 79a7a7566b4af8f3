import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { until } from "../support/temp.ts";
import { flood } from "./flood.ts";
import { kill } from "./proc.ts";
import { withWorld } from "./with_world.ts";

/** The control server is back after the pressure, with five times slack. */
const REBIND_MS = 5 * 5_000;

Deno.test("a flood on the control server takes neither runner nor provider nor a message", async () => {
  await withWorld({ openFiles: 96 }, async (world) => {
    const agent = world.agents[0]!;
    const provider = await agent.find("agent");
    let sent = 0;
    const send = async () => {
      const result = await world.http.send({
        from: "test",
        to: agent.id,
        body: "work",
        subject: `mark-fd-${sent}`,
      });
      assert(result.ok);
      sent++;
    };
    for (let round = 0; round < 3; round++) {
      const flooding = flood(agent.stateDir, { sockets: 600, forMs: 1_500 });
      for (let i = 0; i < 5; i++) await send();
      // Nothing can be started now: the guard has to wait for its successor until the flood is over.
      const guard = (await agent.find("guard"))!;
      kill(guard, "SIGKILL");
      await flooding;
      await until("another guard", async () => ![null, guard].includes(await agent.find("guard")), REBIND_MS);
      await until("the control server to answer", () => answers(agent.stateDir), REBIND_MS);
    }
    await until("everything to be read", async () => (await world.openMail())?.length === 0, 60_000);
    // The pressure was real: what is accepted after the last descriptor ends the accept loop.
    const log = Deno.readTextFileSync(join(agent.dir, "stderr.log"));
    assert(/the control server stopped accepting/.test(log), log);
    const seen = agent.oracle().flatMap((record) => record.type === "seen" ? record.marks : []);
    assertEquals(seen.length, sent);
    assertEquals([agent.starts.length, await agent.find("agent")], [1, provider]);
  });
});

async function answers(stateDir: string): Promise<boolean> {
  const { url, token } = JSON.parse(Deno.readTextFileSync(join(stateDir, "admin.json"))) as Record<
    string,
    string
  >;
  try {
    const response = await fetch(`${url}/status`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(1_000),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
