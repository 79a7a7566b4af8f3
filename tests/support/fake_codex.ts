/**
 * Codex's app-server as a scripted provider: the protocol of `fake_app_server_main.ts`, behaviour and oracle of
 * {@linkcode FakeAgent}, and a line to its clients that can be made bad through `link.json` in the same directory.
 */
import { join } from "@std/path";
import { runFakeAppServer } from "./fake_app_server_main.ts";
import { crash, FakeAgent } from "./fake_agent.ts";
import { pause } from "./temp.ts";
import type { FakeModel } from "./fake_turn.ts";
import { marksOf } from "./oracle.ts";
import { type Toxic, ToxicProxy } from "./toxic_proxy.ts";

const LINK_LOOK_MS = 40;
const FAILURES = { "401": "unauthorized", "500": "internalServerError", "400": "badRequest" } as const;

const agent = new FakeAgent();

/** The model: sees the turn's input, answers, and is as moody as the behaviour says. */
const model: FakeModel = async (turn) => {
  const { behaviour, fails, hangs, crashesAt } = agent.nextTurn();
  const at = (point: string) => crashesAt === point && crash();
  const ids = turn.inputs.flatMap(({ clientId }) => clientId ?? []);
  for (const deliveryId of ids) agent.record({ type: "accepted", deliveryId });
  const ended = (how: "done" | "failed" | "cancelled") => {
    for (const deliveryId of ids) agent.record({ type: "ended", deliveryId, how });
    // The rollout keeps every text for ever; here only what a look at the thread needs.
    for (const item of turn.stored.items) {
      for (const part of item.content ?? []) part.text = part.text.slice(0, 100);
    }
  };
  try {
    at("accepted");
    await turn.pause(behaviour.placedMs);
    at("placed");
    await turn.pause(behaviour.seenMs);
    if (fails) {
      ended("failed");
      const message = `fake ${behaviour.failure}`;
      return { status: "failed", error: { message, codexErrorInfo: FAILURES[behaviour.failure] } };
    }
    for (const deliveryId of ids) agent.record({ type: "seen", deliveryId, ...marksOf(turn.text) });
    at("seen");
    await turn.say(`ok ${turn.text.length}`);
    at("answered");
    await turn.pause(hangs ? 2 ** 31 - 1 : behaviour.doneMs);
    ended("done");
    return { status: "completed" };
  } catch (error) {
    ended("cancelled");
    throw error;
  }
};

/** Puts a line that can be made bad before the server. */
function behindLink(port: number): number {
  const proxy = new ToxicProxy(port, Math.random);
  const path = join(agent.dir, "link.json");
  let now = "";
  setInterval(() => {
    let text = "";
    try {
      text = Deno.readTextFileSync(path);
    } catch { /* nothing is wrong with the line */ }
    if (text === now) return;
    now = text;
    proxy.set(text === "" ? { kind: "none" } : JSON.parse(text) as Toxic);
  }, LINK_LOOK_MS);
  return proxy.port;
}

await pause(agent.behaviour.slowStartMs);
agent.record({ type: "start", resume: null });
await runFakeAppServer(Deno.args, model, behindLink);
