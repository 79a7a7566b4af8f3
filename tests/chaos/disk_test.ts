import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { until } from "../support/temp.ts";
import { mountTmpfs, unmount } from "./proc.ts";
import { withWorld } from "./with_world.ts";
import type { World } from "./world.ts";

/** Where mounting is not permitted these are skipped. */
const MOUNTS = await (async () => {
  const dir = Deno.makeTempDirSync();
  const mounted = await mountTmpfs(dir, 64);
  if (mounted) await unmount(dir);
  Deno.removeSync(dir);
  return mounted;
})();

const WHY = MOUNTS ? "" : " (SKIPPED: nothing may be mounted here)";

/** Promised after space came back. */
const RECOVERY_MS = 60_000;

function fill(dir: string): () => void {
  const path = join(dir, "ballast");
  const file = Deno.openSync(path, { write: true, create: true });
  try {
    for (const block = new Uint8Array(4_096);;) file.writeSync(block);
  } catch {
    /* full */
  } finally {
    file.close();
  }
  return () => Deno.removeSync(path);
}

async function card(world: World): Promise<{ ready: boolean; status: string; reason: string }> {
  const cards = await world.http.listAgents();
  assert(cards.ok);
  const agent = cards.value.find((each) => each.id === world.agents[0]!.id)!;
  return { ready: agent.ready, status: agent.status, reason: String(agent.meta?.reason ?? "") };
}

Deno.test({
  name: `an agent whose disk is full says so, keeps its provider, loses nothing and recovers${WHY}`,
  ignore: !MOUNTS,
  fn: () =>
    withWorld({ smallDiskKiB: 2_048 }, async (world) => {
      const agent = world.agents[0]!;
      const provider = await agent.find("agent");
      const ids: number[] = [];
      const send = async (body: string) => {
        const sent = await world.http.send({
          from: "test",
          to: agent.id,
          body,
          subject: `mark-disk-${ids.length}`,
        });
        assert(sent.ok);
        ids.push(sent.value.message.id);
      };
      for (let round = 0; round < 3; round++) {
        const free = fill(agent.stateDir);
        for (let i = 0; i < 5; i++) await send("x".repeat(20_000));
        await until("the status to say it", async () => (await card(world)).reason.startsWith("storage"));
        const { ready, status } = await card(world);
        assertEquals([ready, status], [false, "error"]);
        free();
        await until("the recovery", async () => (await card(world)).ready, RECOVERY_MS);
      }
      await until("everything to be read", async () => (await world.openMail())?.length === 0, RECOVERY_MS);
      assertEquals(await agent.find("agent"), provider, "the provider was started anew");
      assertEquals(agent.starts.length, 1);
      const seen = agent.oracle().flatMap((record) => record.type === "seen" ? record.marks : []);
      assertEquals(seen.toSorted(), ids.map((_, index) => `mark-disk-${index}`).toSorted());
    }),
});

Deno.test({
  name: `messages that do not fit on the disk together are delivered all the same, one after another${WHY}`,
  ignore: !MOUNTS,
  fn: () =>
    withWorld({ smallDiskKiB: 2_048 }, async (world) => {
      const agent = world.agents[0]!;
      const free = fill(agent.stateDir);
      for (let i = 0; i < 6; i++) {
        const sent = await world.http.send({
          from: "test",
          to: agent.id,
          body: "x".repeat(600_000),
          subject: `mark-large-${i}`,
        });
        assert(sent.ok);
      }
      await until("the status to say it", async () => (await card(world)).reason.startsWith("storage"));
      free();
      await until("everything to be read", async () => (await world.openMail())?.length === 0, RECOVERY_MS);
      assertEquals((await card(world)).ready, true);
      const seen = agent.oracle().flatMap((record) => record.type === "seen" ? record.marks : []);
      assertEquals(seen, Array.from({ length: 6 }, (_, i) => `mark-large-${i}`));
    }),
});

Deno.test({
  name: `a runner on a full disk ends within its bound${WHY}`,
  ignore: !MOUNTS,
  fn: () =>
    withWorld({ smallDiskKiB: 2_048 }, async (world) => {
      const agent = world.agents[0]!;
      fill(agent.stateDir);
      const sent = await world.http.send({ from: "test", to: agent.id, body: "work" });
      assert(sent.ok);
      await until("the status to say it", async () => (await card(world)).reason.startsWith("storage"));
      agent.wanted = false;
      const asked = Date.now();
      agent.current!.proc.signal("SIGTERM");
      const ended = await agent.current!.proc.ended;
      assert(ended.at - asked <= 14_000, `${ended.at - asked} ms`);
      assertEquals(ended.code, 0);
    }),
});

Deno.test({
  name: `a relay whose disk is full takes nothing it cannot keep, and goes on when there is room${WHY}`,
  ignore: !MOUNTS,
  fn: () =>
    withWorld({ relayDiskKiB: 6_144 }, async (world) => {
      const agent = world.agents[0]!;
      const dir = dirname(world.relayDb);
      let kept = 0;
      let refused = 0;
      // Enough for the log of the database to be folded in several times.
      const send = async (key: string) => {
        const sent = await world.http.send({
          from: "test",
          to: agent.id,
          body: "x".repeat(30_000),
          subject: key,
          idempotencyKey: key,
        });
        if (sent.ok) kept++;
        else refused++;
        return sent.ok;
      };
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 20; i++) await send(`mark-before-${round * 100 + i}`);
        const free = fill(dir);
        for (let i = 0; i < 5; i++) await send(`mark-full-${round * 100 + i}`);
        free();
        for (let i = 0; i < 5; i++) {
          // What was refused, and what was taken without an answer, is sent again under its key.
          await until("the relay to take it", () => send(`mark-full-${round * 100 + i}`), RECOVERY_MS);
        }
      }
      assert(refused > 0, "the disk was never full");
      await until("everything to be read", async () => (await world.openMail())?.length === 0, RECOVERY_MS);
      const seen = agent.oracle().flatMap((record) => record.type === "seen" ? record.marks : []);
      assertEquals(seen.length, 75);
      assertEquals(new Set(seen).size, 75);
      assert(world.relay.alive && kept >= 75);
    }),
});
