import { type Case, wasSeen } from "./case.ts";
import { AGENT, RIVAL } from "./relay_model.ts";
import type { World } from "./world.ts";

/** Failed turns after which a message may be given up. */
const MAX_FAILURES = 5;

/** Checks what must hold when everything has worked for 300 s: nothing lost, nothing stuck, nothing misreported. */
export function finalCheck(world: World): void {
  const { oracle, relay, operator } = world;
  for (const each of world.cases.values()) {
    if (each.message.storeId === relay.storeId) checkPresent(world, each);
    else checkForgotten(world, each);
    if (each.ended === "dead") checkDead(world, each);
  }
  oracle.supervision.finalCheck();
  const { host } = operator;
  if (host === null) return oracle.violated("I2", "the runner is not there");
  const { status } = host.bus;
  if (!status?.ready || status.agentStatus !== "idle") {
    oracle.violated("I8", `with nothing to do the status is ${status?.agentStatus}, ready ${status?.ready}`);
  }
}

function checkPresent(world: World, each: Case): void {
  const { oracle, relay } = world;
  const mail = relay.mails.get(each.message.id)!;
  const { key } = each;
  if (mail.dead || each.dropped) return;
  if (!mail.open.has(AGENT)) {
    const { claimable } = each.message;
    if (!wasSeen(each) && !(claimable && each.rivalDoneAt !== null)) oracle.violated("I2", `${key} is lost`);
    if (
      each.posting.replyExpected && each.ended === "done" && each.repliesStored === 0 && each.damaged === 0
    ) {
      oracle.violated("I2", `the answer to ${key} is lost`);
    }
    return;
  }
  if (each.ended === "dead") return;
  if (mail.claim?.by === RIVAL) return;
  oracle.violated(
    "I2",
    `${key} is stuck: ${each.ended}, handed ${each.handed}, row ${world.disk.row(key)?.state.state}`,
  );
}

/** A message of a store that is no more: what the runner had received it still owes to the model. */
function checkForgotten(world: World, each: Case): void {
  if (!each.journaled || each.message.claimable || each.damaged > 0 || each.dropped) return;
  // Its second life was the store's, which went away before anybody heard of it.
  if (each.ended === "dead" || each.reopened > 0) return;
  // Its text was left at the relay, and went with it.
  if (world.plan.maxBodyBytes < 1_000 && each.handed === 0) return;
  if (!wasSeen(each)) world.oracle.violated("I2", `${each.key} of the relay's earlier store is lost`);
}

function checkDead(world: World, each: Case): void {
  world.oracle.tally.dead++;
  world.oracle.sometimes("a message became a dead letter");
  if (each.posting.poison !== "none" || each.damaged > 0 || each.unreadable > 0) return;
  // A fault of the provider is none of the message.
  const failures = each.turns.filter(({ end }) =>
    end !== null && end.how !== "done" && end.failure !== "provider"
  );
  if (failures.length >= MAX_FAILURES) return;
  // Opened again, and another agent was faster.
  if (each.reopened > 0 && each.rivalDoneAt !== null) return;
  // Opened again in a store that went away before anybody heard of it.
  if (each.reopened > 0 && each.message.storeId !== world.relay.storeId) return;
  world.oracle.violated("I2", `${each.key} was given up after ${each.turns.length} turns`);
}
