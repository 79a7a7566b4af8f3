import { assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import { noBus } from "../../lib/runner/no_relay.ts";
import { Outbox } from "../../lib/runner/outbox.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { finish, type RelayActions } from "../../lib/runner/relay_actions.ts";
import type { RelayBus } from "../../lib/sdk/contract.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** The end of a run whose relay takes everything and answers nothing. */
function ending(hurried: Promise<void>): { clock: FakeClock; over(): boolean; end: Promise<void> } {
  const clock = new FakeClock();
  const bus: RelayBus = {
    ...noBus,
    transportState: { state: "registered", registered: { agentId: "a" } } as RelayBus["transportState"],
    statusAsync: () => new Promise(() => {}),
  };
  const ports = { bus, clock, log: noLog } as unknown as RunnerPorts;
  const relay = { settled: Promise.resolve() } as unknown as RelayActions;
  const outbox = new Outbox({ bus, log: noLog, clock });
  const outcome = { cause: { kind: "drained" as const }, deregister: false };
  let over = false;
  const end = finish(outcome, { ports, outbox, relay, hurried }).then(() => void (over = true));
  return { clock, over: () => over, end };
}

Deno.test("a goodbye to a relay that says nothing takes two seconds", async () => {
  const { clock, over, end } = ending(new Promise(() => {}));
  await clock.advance(1_999);
  assertEquals(over(), false);
  await clock.advance(1);
  await end;
});

Deno.test("a second signal leaves the rest of a goodbye out", async () => {
  const hurried = Promise.withResolvers<void>();
  const { clock, over, end } = ending(hurried.promise);
  await clock.advance(100);
  assertEquals(over(), false);
  hurried.resolve();
  await end;
});
