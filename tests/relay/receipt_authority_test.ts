import { assert, assertEquals } from "@std/assert";
import type { StageReport } from "../../lib/protocol/message.ts";
import type { RelayServer } from "../../lib/relay/contract.ts";
import { httpOf } from "../support/relay_world.ts";
import { agentToken, api, withRelay } from "./component.ts";

/** Stores a message of the operator; returns its id. */
async function send(relay: RelayServer, to: string): Promise<number> {
  const sent = await httpOf(relay).send({ from: "person", to, body: "x" });
  assert(sent.ok);
  return sent.value.message.id;
}

/** The lines of a message by recipient. */
async function linesOf(relay: RelayServer, id: number): Promise<Record<string, StageReport[]>> {
  const receipt = await httpOf(relay).receipt(id);
  assert(receipt.ok);
  return Object.fromEntries(receipt.value.recipients.map(({ agentId, reports }) => [agentId, reports]));
}

const stagesOf = async (relay: RelayServer, id: number) =>
  Object.fromEntries(
    Object.entries(await linesOf(relay, id)).map(([agentId, lines]) => [
      agentId,
      lines.map((line) => line.stage),
    ]),
  );

Deno.test("a stage that cannot have been then is noted at the relay's own time", async () => {
  await withRelay(async (relay) => {
    const token = await agentToken(relay, "a");
    const id = await send(relay, "a");
    const message = await httpOf(relay).getMessage(id);
    assert(message.ok);
    const { createdAt } = message.value;
    const HOUR_MS = 3_600_000;
    const given = [
      9e15,
      1e300,
      -1e300,
      -1,
      0,
      createdAt - 25 * HOUR_MS,
      createdAt - 23 * HOUR_MS,
      createdAt + 23 * HOUR_MS,
    ];
    const reports = given.map((at, index) => ({
      messageId: id,
      agentId: "a",
      stage: "seen" as const,
      at,
      deliveryId: `d${index}`,
    }));
    const before = Date.now();
    assert((await httpOf(relay, token).reportStages(reports)).ok);
    const noted = (await linesOf(relay, id)).a!.map(({ at }) => at);
    const [far, farther] = noted;
    for (const at of [far!, farther!]) assert(at >= before && at <= Date.now(), String(at));
    assertEquals(noted.slice(2), [
      createdAt,
      createdAt,
      createdAt,
      createdAt,
      createdAt - 23 * HOUR_MS,
      createdAt + 23 * HOUR_MS,
    ]);
  });
});

Deno.test("an agent whose clock is wrong gives a message up as often as it is opened again", async () => {
  await withRelay(async (relay) => {
    const token = await agentToken(relay, "a");
    const id = await send(relay, "a");
    for (const generation of [0, 1, 2]) {
      const report = {
        messageId: id,
        agentId: "a",
        stage: "dead" as const,
        at: 1_000 + generation,
        generation,
      };
      for (let i = 0; i < 2; i++) assert((await httpOf(relay, token).reportStages([report])).ok);
      const dead = await httpOf(relay).listDead();
      assertEquals(dead.ok && dead.value.letters.map((letter) => letter.generation), [generation]);
      assert((await httpOf(relay).retryDead({ messageId: id, agentId: "a", generation })).ok);
    }
    assertEquals(await stagesOf(relay, id), { a: Array(3).fill(["dead", "reopened"]).flat() });
  });
});

Deno.test("evidence is stored shown and cut, and a delivery has an id of one printable word", async () => {
  await withRelay(async (relay) => {
    const token = await agentToken(relay, "a");
    const id = await send(relay, "a");
    const report = (more: object) =>
      api(relay, "POST", "/receipts", token, {
        reports: [{ messageId: id, agentId: "a", stage: "seen", at: Date.now(), ...more }],
      }).then(async (answer) => {
        await answer.body?.cancel();
        return answer.status;
      });
    assertEquals(await report({ deliveryId: "d", evidence: `\x1b[2J${"x".repeat(1_000)}` }), 200);
    assertEquals(await report({ deliveryId: "e", evidence: "a\0b\nc\u202ed" }), 200);
    const [long, odd] = (await linesOf(relay, id)).a!.map(({ evidence }) => evidence);
    assertEquals(long, `\\x1b[2J${"x".repeat(396)}…`);
    assertEquals(odd, "a\\x00b\\nc\\u{202e}d");
    for (const deliveryId of ["", "x".repeat(129), "a b", "a\0b", "\x1b[2J", "ä", 7, null, {}]) {
      assertEquals(await report({ deliveryId }), 400, JSON.stringify(deliveryId));
    }
    for (const attempt of [-1, 1.5, "1"]) assertEquals(await report({ attempt }), 400, String(attempt));
    assertEquals((await linesOf(relay, id)).a!.length, 2);
  });
});

Deno.test("an agent has something to say of what was sent to it alone, and what is left out harms nothing else", async () => {
  await withRelay(async (relay) => {
    await agentToken(relay, "victim");
    const evil = await agentToken(relay, "evil");
    const [others, own] = [await send(relay, "victim"), await send(relay, "evil")];
    const report = (messageId: number, stage: "dead" | "seen") => ({
      messageId,
      agentId: "evil",
      stage,
      at: Date.now(),
    });
    const version = async () => {
      const receipt = await httpOf(relay).receipt(others);
      return receipt.ok ? receipt.value.version : NaN;
    };
    const before = await version();
    const told = await httpOf(relay, evil).reportStages([
      report(others, "dead"),
      report(99, "seen"),
      report(own, "seen"),
    ]);
    assertEquals(told.ok, true);
    assertEquals([await stagesOf(relay, others), await version()], [{ victim: [] }, before]);
    assertEquals(await stagesOf(relay, own), { evil: ["seen"] });
    // Nor does the operator's token make somebody a recipient.
    assert((await httpOf(relay).reportStages([report(others, "seen")])).ok);
    assertEquals([await stagesOf(relay, others), await version()], [{ victim: [] }, before]);
    // In the name of another it may not even try.
    const forged = await httpOf(relay, evil).reportStages([{ ...report(others, "dead"), agentId: "victim" }]);
    assertEquals(forged.ok ? "" : forged.kind, "auth");
  });
});

Deno.test("no recipient pushes out another's lines, nor its own end, however much it says", async () => {
  await withRelay(async (relay) => {
    const [loud, quiet] = [await agentToken(relay, "aaa"), await agentToken(relay, "zzz")];
    const id = await send(relay, "broadcast");
    const line = (agentId: string, stage: StageReport["stage"], deliveryId: string) => ({
      messageId: id,
      agentId,
      stage,
      at: Date.now(),
      deliveryId,
    });
    const way = ["received", "handed", "placed", "seen", "done", "acked"] as const;
    const walk = (agentId: string) => way.map((stage) => line(agentId, stage, "d"));
    assert((await httpOf(relay, quiet).reportStages(walk("zzz"))).ok);
    assert((await httpOf(relay, loud).reportStages(walk("aaa"))).ok);
    const versions: number[] = [];
    for (let i = 0; i < 3; i++) {
      const flood = Array.from({ length: 900 }, (_, n) => line("aaa", "retry", `r${i}-${n}`));
      assert((await httpOf(relay, loud).reportStages(flood)).ok);
      const receipt = await httpOf(relay).receipt(id);
      versions.push(receipt.ok ? receipt.value.version : NaN);
    }
    const shown = await linesOf(relay, id);
    assertEquals(shown.zzz!.map(({ stage }) => stage), [...way]);
    assertEquals(shown.aaa!.length, 100);
    assertEquals(shown.aaa!.slice(0, 6).map(({ stage }) => stage), [...way]);
    assertEquals(shown.aaa!.at(-1)!.deliveryId, "r2-899");
    // Whoever waits for the next line is told of it, though as many went as came.
    assertEquals(versions, [1 + 12 + 900, 1 + 12 + 1_800, 1 + 12 + 2_700]);
  });
});

Deno.test("a receipt of very many recipients has the lines of each", async () => {
  await withRelay(async (relay) => {
    const ids = Array.from({ length: 500 }, (_, i) => `a${String(i).padStart(3, "0")}`);
    await Promise.all(ids.map((id) => agentToken(relay, id)));
    const id = await send(relay, "broadcast");
    const way = ["received", "handed", "placed", "seen", "done", "acked"] as const;
    for (const stage of way) {
      const reports = ids.map((agentId) => ({
        messageId: id,
        agentId,
        stage,
        at: Date.now(),
        deliveryId: "d",
      }));
      assert((await httpOf(relay).reportStages(reports)).ok);
    }
    const stages = await stagesOf(relay, id);
    assertEquals(ids.filter((each) => stages[each]?.join() !== way.join()), []);
  });
});
