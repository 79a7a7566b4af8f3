import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { createProcesses } from "../../lib/process/mod.ts";
import type { Delivery, ProviderEvent } from "../../lib/providers/contract.ts";
import { echoAdapter } from "../../lib/providers/echo/adapter.ts";
import { runEchoAgent } from "../../lib/providers/echo/agent.ts";
import type { EchoInput } from "../../lib/providers/echo/protocol.ts";
import { TestHome } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

function delivery(deliveryId: string): Delivery {
  return { deliveryId, messageId: 1, from: "alice", text: "hello", when: "next" };
}

Deno.test("echo says of a delivery behind a slow turn that the agent holds it", async () => {
  await withTempDir(async (dir) => {
    await using home = new TestHome(dir);
    const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
    const events: ProviderEvent[] = [];
    const session = await echoAdapter.spawn(
      {
        command: home.program.command,
        args: [...home.program.args, "__echo-agent", "--", "--slow", "60s"],
        cwd: dir,
        env: home.env,
        stateDir: dir,
        agentId: "agent",
        label: null,
        version: "0",
        headless: true,
        approval: "guarded",
        once: false,
        maxTurns: null,
        maxCostUsd: null,
        self: (verb) => ({ command: home.program.command, args: [...home.program.args, verb] }),
        delivery: "auto",
        resume: null,
        opening: true,
        conversation: "last",
        unwanted: [],
        incarnation: 1,
        control: { url: "http://127.0.0.1:1", hookToken: "t" },
      },
      {
        processes,
        clock: systemClock,
        random: Math.random,
        log: noLog,
        monitor: { deliver: () => Promise.reject(new Error("no monitor")), watch: () => () => {} },
        emit: (event) => void events.push(event),
      },
    );
    const { signal } = new AbortController();
    const seen = (id: string) =>
      events.some((each) => each.type === "evidence" && each.deliveryId === id && each.stage === "seen");
    await session.deliver(delivery("first"), signal);
    await session.deliver(delivery("second"), signal);
    await until("the first turn", () => seen("first"));
    const found = await session.probe(["first", "second", "strange"], signal);
    assertEquals([...found].map(([id, { state }]) => [id, state]), [
      ["first", "seen"],
      ["second", "placed"],
      ["strange", "absent"],
    ]);
    const { signal: how } = await session.shutdown({ graceful: true, timeoutMs: 10_000 });
    // By our word or by the signal that follows it, whichever it takes first.
    assert(how === null || how === "SIGTERM", `the grace was not enough: ${how}`);
    await processes.dispose({ graceMs: 0 });
  });
});

Deno.test("the echo agent ends when it is told to stop, in a turn and before one", async () => {
  const lines = (...inputs: EchoInput[]) =>
    new TextEncoder().encode(inputs.map((input) => JSON.stringify(input) + "\n").join(""));
  const deliver = (deliveryId: string): EchoInput => ({ type: "deliver", deliveryId, text: "hello" });
  const slow = { slowMs: 60_000, fail: null, exit: null, turns: 1, costUsd: null };
  for (const apart of [true, false]) {
    let said = "";
    let recorded = "";
    const input = new TransformStream<Uint8Array, Uint8Array>();
    const ended = runEchoAgent(input.readable, (text) => said += text, (text) => recorded += text, slow);
    const writer = input.writable.getWriter();
    const stop = [{ type: "interrupt" }, { type: "stop" }] as const;
    if (apart) {
      await writer.write(lines(deliver("a"), deliver("b")));
      await until("the first turn", () => said.includes('"seen","deliveryId":"a"'));
      for (const each of stop) await writer.write(lines(each)).catch(() => {});
    } else await writer.write(lines(deliver("a"), deliver("b"), ...stop));
    assertEquals(await ended, 0);
    // Neither was answered, so neither may count as handled.
    assertEquals(/^[ab]$/m.test(recorded), false);
  }
});
