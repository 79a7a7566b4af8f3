import { assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import type { ChildHandle, Processes, SpawnOptions } from "../../lib/process/contract.ts";
import type { Delivery, ProviderEvent } from "../../lib/providers/contract.ts";
import { echoAdapter } from "../../lib/providers/echo/adapter.ts";
import { RUN_ARGS } from "../support/runner_process.ts";
import { until, withTempDir } from "../support/temp.ts";

/** Starts the real child without a guard: the test ends it. */
function plainProcesses(): Processes {
  return {
    runId: "test",
    dispose: () => Promise.resolve(),
    spawn: ({ command, args, cwd, env, stdin, stdout, stderr }: SpawnOptions) => {
      const child = new Deno.Command(command, { args, cwd, env, clearEnv: true, stdin, stdout, stderr })
        .spawn();
      const exited = child.status.then(({ code, signal }) => ({ code, signal }));
      const handle: ChildHandle = {
        pid: child.pid,
        stdin: child.stdin,
        stdout: child.stdout,
        exited,
        signal: () => false,
        stop: async ({ graceMs }) => {
          const cancel = systemClock.setTimer(graceMs, () => child.kill("SIGKILL"));
          const status = await exited;
          cancel();
          return status;
        },
      };
      return Promise.resolve(handle);
    },
  };
}

function delivery(deliveryId: string): Delivery {
  return { deliveryId, messageId: 1, from: "alice", text: "hello", when: "next", redelivery: 0 };
}

Deno.test("echo says of a delivery behind a slow turn that the agent holds it, and ends in time", async () => {
  await withTempDir(async (dir) => {
    const events: ProviderEvent[] = [];
    const session = await echoAdapter.spawn(
      {
        command: Deno.execPath(),
        args: [...RUN_ARGS, "__echo-agent", "--", "--slow", "60s"],
        cwd: dir,
        env: { HOME: dir, DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno` },
        stateDir: dir,
        agentId: "agent",
        label: null,
        version: "0",
        headless: true,
        approval: "guarded",
        once: false,
        maxTurns: null,
        maxCostUsd: null,
        self: (verb) => ({ command: Deno.execPath(), args: [...RUN_ARGS, verb] }),
        delivery: "auto",
        resume: null,
        unwanted: [],
        incarnation: 1,
        control: { url: "http://127.0.0.1:1", hookToken: "t" },
      },
      {
        processes: plainProcesses(),
        clock: systemClock,
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
    assertEquals((await session.shutdown({ graceful: true, timeoutMs: 10_000 })).code, 0);
  });
});
