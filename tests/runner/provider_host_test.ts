import { assertEquals } from "@std/assert";
import { noLog } from "../../lib/base/log.ts";
import type { ExitStatus } from "../../lib/process/contract.ts";
import type {
  ProviderEvent,
  ProviderExit,
  ProviderPorts,
  ProviderSession,
} from "../../lib/providers/contract.ts";
import type { Event } from "../../lib/runner/core/types.ts";
import { withCleanReasons } from "../../lib/runner/reasons.ts";
import { ProviderHost } from "../../lib/runner/provider_host.ts";
import type { RunnerPorts } from "../../lib/runner/ports.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** A host whose adapter starts a process whenever the test says so. */
function slowHost(more: Partial<RunnerPorts> = {}) {
  const clock = new FakeClock();
  const events: Event[] = [];
  const told: string[] = [];
  const starting: (() => void)[] = [];
  const adapter = {
    provider: "slow",
    window: 1,
    buildSpawnArgs: () => [],
    spawn: ({ incarnation }: { incarnation: number }) =>
      new Promise<ProviderSession>((resolve) => {
        told.push(`spawn ${incarnation}`);
        starting.push(() => {
          const exited = Promise.withResolvers<ExitStatus>();
          resolve({
            exited: exited.promise,
            shutdown: () => {
              told.push(`shutdown ${incarnation}`);
              exited.resolve({ code: 143, signal: "SIGTERM" });
              return exited.promise;
            },
            pid: incarnation,
            deliver: () => Promise.resolve(),
            probe: () => Promise.resolve(new Map()),
            interrupt: () => Promise.resolve(),
          });
        });
      }),
  };
  const launch = (start: unknown) => start;
  const ports = {
    clock,
    log: noLog,
    adapter,
    launch,
    redact: String,
    processes: {},
    monitor: {},
    ...more,
  } as unknown as RunnerPorts;
  const host = new ProviderHost(ports, (event) => events.push(event));
  return { clock, events, told, starting, host };
}

const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

Deno.test("a provider starts only once the one before, whose start was given up, is there and ended", async () => {
  const { clock, events, told, starting, host } = slowHost();
  await host.perform({ type: "spawn", incarnation: 1, resume: null, opening: true, unwanted: [] });
  const stopping = host.perform({ type: "stop-provider", graceful: true, timeoutMs: 10_000 });
  await clock.advance(10_000);
  await stopping;
  assertEquals(events.map((event) => event.type), ["spawn.failed"]);
  await host.perform({ type: "spawn", incarnation: 2, resume: null, opening: true, unwanted: [] });
  await settled();
  assertEquals(told, ["spawn 1"]);
  starting[0]!();
  await settled();
  assertEquals(told, ["spawn 1", "shutdown 1", "spawn 2"]);
  starting[1]!();
  await host.dispose();
});

Deno.test("a provider is tried again later when the start before it hangs", async () => {
  const { clock, events, told, host } = slowHost();
  await host.perform({ type: "spawn", incarnation: 1, resume: null, opening: true, unwanted: [] });
  const stopping = host.perform({ type: "stop-provider", graceful: true, timeoutMs: 10_000 });
  await clock.advance(10_000);
  await stopping;
  await host.perform({ type: "spawn", incarnation: 2, resume: null, opening: true, unwanted: [] });
  await clock.advance(30_000);
  await settled();
  assertEquals(told, ["spawn 1"]);
  assertEquals(events.at(-1), {
    type: "spawn.failed",
    incarnation: 2,
    permanent: false,
    reason: "the start before this one still hangs",
  });
});

Deno.test("the core hears of the provider's end also when whoever else is told of it throws", async () => {
  const { events, starting, host } = slowHost({
    providerEnded: () => {
      throw new Error("Input/output error (os error 5)");
    },
  });
  await host.perform({ type: "spawn", incarnation: 1, resume: null, opening: true, unwanted: [] });
  starting[0]!();
  await host.perform({ type: "stop-provider", graceful: true, timeoutMs: 10_000 });
  await settled();
  assertEquals(events.map((event) => event.type), ["spawned", "exited"]);
});

Deno.test("what an agent says of its end and of what went wrong is masked before it is cut", async () => {
  const secret = "sk-canary-0123456789";
  const redact = (text: string) => text.replaceAll(secret, "[redacted]");
  const exited = Promise.withResolvers<ProviderExit>();
  let emit: (event: ProviderEvent) => void = () => {};
  const adapter = {
    provider: "leaky",
    spawn: (_launch: unknown, ports: ProviderPorts) => {
      emit = ports.emit;
      return Promise.resolve({ exited: exited.promise, pid: 1 } as ProviderSession);
    },
  } as unknown as RunnerPorts["adapter"];
  const { events, host } = slowHost({ adapter, redact });
  await host.perform({ type: "spawn", incarnation: 1, resume: null, opening: true, unwanted: [] });
  await settled();
  const words = `${"x".repeat(290)} ${secret}`;
  emit({ type: "failed", deliveryIds: ["d"], failure: "transient", reason: words });
  emit({ type: "fault", reason: words });
  emit({ type: "fault", reason: null });
  exited.resolve({ code: 1, signal: null, lastWords: words });
  await settled();
  const said = JSON.stringify(events);
  assertEquals(said.includes("canary"), false, said);
  assertEquals(events.map((event) => event.type), ["spawned", "provider", "provider", "provider", "exited"]);
});

Deno.test("withCleanReasons() masks what a provider says of a failure before it is cut", () => {
  const redact = (text: string) => text.replaceAll("topsecret", "[redacted]");
  const reason = "x".repeat(295) + "topsecret";
  const clean = "x".repeat(295) + "[reda…";
  const failed: ProviderEvent = { type: "failed", deliveryIds: ["d"], failure: "provider", reason };
  const probe = { state: "failed", failure: "provider", reason } as const;
  const events: Event[] = [
    { type: "hand.failed", key: "k", deliveryId: "d", reason },
    { type: "provider", incarnation: 1, event: failed },
    { type: "provider", incarnation: 1, event: { type: "fault", reason } },
    { type: "provider", incarnation: 1, event: { type: "refused", reason } },
    { type: "exited", incarnation: 1, status: { code: 1, signal: null, lastWords: reason } },
    { type: "probed", incarnation: 1, results: new Map([["d", probe]]) },
  ];
  const said = (event: Event) =>
    JSON.stringify({ ...event, results: event.type === "probed" ? [...event.results] : [] });
  for (const event of events) {
    const text = said(withCleanReasons(event, redact));
    assertEquals([text.includes(`"${clean}"`), text.includes("tops")], [true, false], text);
  }
  const start: Event = { type: "spawn.failed", incarnation: 1, permanent: false, reason: "no topsecret" };
  assertEquals(withCleanReasons(start, redact), { ...start, reason: "no [redacted]" });
});
