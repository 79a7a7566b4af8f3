import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { noLog } from "../../lib/base/log.ts";
import { endLeftovers, hasRunNote, noteRun } from "../../lib/process/leftovers.ts";
import { lockInstance, lockInstanceAfterEnd } from "../../lib/process/lock.ts";
import {
  createProcesses,
  type GuardedProcesses,
  RUN_MARKER,
  type SpawnOptions,
} from "../../lib/process/mod.ts";
import { whileForking } from "../support/forker.ts";
import { processesWith, RUN_ARGS } from "../support/runner_process.ts";
import { SETSID } from "../support/shells.ts";
import { until, withTempDir } from "../support/temp.ts";

const sh = (script: string, more: Partial<SpawnOptions> = {}): SpawnOptions => ({
  command: "/bin/sh",
  args: ["-c", SETSID + script],
  cwd: "/",
  env: { PATH: "/usr/bin:/bin" },
  stdin: "null",
  stdout: "null",
  stderr: "null",
  ownGroup: true,
  ...more,
});

async function withProcesses(work: (processes: GuardedProcesses) => Promise<void>): Promise<void> {
  const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
  try {
    await work(processes);
  } finally {
    await processes.dispose({ graceMs: 0 });
  }
  assertEquals(await processesWith(processes.runId), [], "a marked process survived");
}

/** Children that do not want to go: each has to be ended all the same. */
const STUBBORN: Record<string, string> = {
  "ignores TERM": "trap '' TERM INT HUP; while :; do sleep 0.2; done",
  "forks a group": "sleep 100 & sleep 100 & wait",
  "escapes with setsid": "setsid sh -c 'trap \"\" TERM; sleep 100; :' & setsid sleep 100 & wait",
  "forks twice": "(setsid sh -c '(sleep 100 &) ; sleep 100' &) ; sleep 100",
  "stops itself": "kill -STOP $$; sleep 100",
  "leaves children when it ends": "setsid sleep 100 & exit 0",
};

for (const [name, script] of Object.entries(STUBBORN)) {
  Deno.test(`stop ends the whole tree when the child ${name}`, async () => {
    await withProcesses(async (processes) => {
      const child = await processes.spawn(sh(script));
      let ended = false;
      void child.exited.then(() => ended = true);
      // What a child leaves when it ends by itself is ended at once, maybe before it was seen here.
      await until("the tree", async () => ended || (await processesWith(processes.runId)).length >= 1);
      await child.stop({ graceMs: 200 });
      assertEquals(await processesWith(processes.runId), []);
    });
  });
}

Deno.test("stop is idempotent, and a later call without grace shortens it", async () => {
  await withProcesses(async (processes) => {
    const child = await processes.spawn(sh("trap '' TERM; while :; do sleep 0.1; done"));
    const slow = child.stop({ graceMs: 60_000 });
    const fast = child.stop({ graceMs: 0 });
    assertEquals(await slow, await fast);
    assertEquals(child.signal("SIGTERM"), false);
  });
});

Deno.test("stop is shortened by a later call whose grace is over earlier, and by no other", async () => {
  await withProcesses(async (processes) => {
    const child = await processes.spawn(sh("trap 'echo told' TERM; echo up; while :; do sleep 0.1; done", {
      stdout: "piped",
    }));
    const reader = child.stdout!.getReader();
    await reader.read();
    const began = performance.now();
    const stopping = child.stop({ graceMs: 60_000 });
    await reader.read();
    void child.stop({ graceMs: 120_000 });
    void child.stop({ graceMs: 300 });
    void child.stop({ graceMs: 30_000 });
    assertEquals((await stopping).signal, "SIGKILL");
    assert(performance.now() - began < 20_000);
    await reader.cancel();
  });
});

Deno.test("a child that starts while another one is being swept survives the sweep", async () => {
  await withProcesses(async (processes) => {
    const first = await processes.spawn(sh("sleep 100"));
    const stopping = first.stop({ graceMs: 1_000 });
    await first.exited;
    const second = await processes.spawn(sh("sleep 100"));
    await stopping;
    // A third one starts only when every sweep that is asked for is over.
    const third = await processes.spawn(sh("exit 0"));
    assertEquals((await third.exited).code, 0);
    assert((await processesWith(processes.runId)).length >= 1, "the sweep took the new child");
    await second.stop({ graceMs: 0 });
  });
});

Deno.test("the guard is replaced when it is killed, and the new one still knows the groups", async () => {
  await withProcesses(async (processes) => {
    const child = await processes.spawn(sh("setsid sleep 100 & wait"));
    const before = processes.guardPid;
    Deno.kill(before, "SIGKILL");
    await until("another guard", () => processes.guardPid !== before);
    await child.stop({ graceMs: 0 });
  });
});

Deno.test("nothing survives a SIGKILL of the process that started it", async () => {
  await withTempDir(async (dir) => {
    const script = join(dir, "owner.ts");
    const lib = new URL("../../lib/", import.meta.url).href;
    await Deno.writeTextFile(
      script,
      `import { createProcesses } from "${lib}process/mod.ts";
       import { systemClock } from "${lib}base/clock.ts";
       import { noLog } from "${lib}base/log.ts";
       const processes = createProcesses({ runId: Deno.args[0]!, clock: systemClock, log: noLog });
       await processes.spawn({ command: "/bin/sh", args: ["-c", ${
        JSON.stringify(SETSID)
      } + "setsid sleep 100 & trap '' TERM; sleep 100"], cwd: "/",
         env: { PATH: "/usr/bin:/bin" }, stdin: "null", stdout: "null", stderr: "null", ownGroup: true });
       await new Promise((resolve) => setTimeout(resolve, 100_000));`,
    );
    const runId = crypto.randomUUID();
    const flags = RUN_ARGS.slice(0, -1);
    const owner = new Deno.Command(Deno.execPath(), {
      args: [...flags, script, runId],
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("the tree", async () => (await processesWith(`${RUN_MARKER}=${runId}`)).length >= 2);
    owner.kill("SIGKILL");
    await owner.status;
    await until(
      "the end of the tree",
      async () => (await processesWith(`${RUN_MARKER}=${runId}`)).length === 0,
      10_000,
    );
  });
});

Deno.test("the watchdog of the guard ends a process whose event loop is blocked", async () => {
  await withTempDir(async (dir) => {
    const script = join(dir, "stuck.ts");
    const lib = new URL("../../lib/", import.meta.url).href;
    await Deno.writeTextFile(
      script,
      `import { createProcesses } from "${lib}process/mod.ts";
       import { systemClock } from "${lib}base/clock.ts";
       import { noLog } from "${lib}base/log.ts";
       const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
       processes.watchdog(300);
       await new Promise((resolve) => setTimeout(resolve, 50));
       for (;;);`,
    );
    const stuck = new Deno.Command(Deno.execPath(), {
      args: [...RUN_ARGS.slice(0, -1), script],
      stdout: "null",
      stderr: "null",
    }).spawn();
    assertEquals((await stuck.status).signal, "SIGKILL");
  });
});

Deno.test("spawn says what is wrong with a command or a directory", async () => {
  await withTempDir(async (dir) => {
    Deno.writeTextFileSync(join(dir, "plain"), "text");
    await withProcesses(async (processes) => {
      for (
        const [options, code] of [
          [{ command: "/no/such/command" }, "E_PROVIDER_CMD"],
          [{ command: join(dir, "plain") }, "E_PROVIDER_CMD"],
          [{ cwd: "/no/such/directory" }, "E_CWD"],
        ] as const
      ) {
        const error = await assertRejects(() => processes.spawn({ ...sh(""), ...options }), RunnerError);
        assertEquals(error.code, code);
      }
    });
  });
});

Deno.test("what an ended child left behind is ended while another child of the run lives", async () => {
  await withProcesses(async (processes) => {
    const other = await processes.spawn(sh("exec sleep 100"));
    const child = await processes.spawn(sh("setsid sleep 200 & setsid sleep 200 & exec sleep 100"));
    await until("the tree", async () => (await processesWith(processes.runId)).length === 4);
    child.signal("SIGKILL");
    await child.exited;
    await child.stop({ graceMs: 0 });
    assertEquals(await processesWith(processes.runId), [other.pid]);
    // A child that nobody stopped is cleaned up after when the next one starts.
    const lost = await processes.spawn(sh("setsid sleep 200 & exit 0"));
    await lost.exited;
    const next = await processes.spawn(sh("exec sleep 100"));
    assertEquals((await processesWith(processes.runId)).sort(), [other.pid, next.pid].sort());
  });
});

Deno.test("a child's environment is exactly what was given plus the markers of run and child", async () => {
  await withProcesses(async (processes) => {
    const child = await processes.spawn({
      ...sh("env"),
      env: { PATH: "/usr/bin:/bin", ONE: "1" },
      stdout: "piped",
    });
    const out = await new Response(child.stdout).text();
    await child.exited;
    const names = out.split("\n").filter((line) => line !== "" && !/^(PWD|SHLVL|_|OLDPWD)=/.test(line))
      .sort();
    assertMatch(names.shift()!, /^AGENT_RELAY_CHILD_ID=[0-9a-f-]{36}$/);
    assertEquals(names, [`AGENT_RELAY_RUN_ID=${processes.runId}`, "ONE=1", "PATH=/usr/bin:/bin"]);
  });
});

Deno.test("endLeftovers ends what an earlier run left, by its marker and not by pid", async () => {
  await withTempDir(async (dir) => {
    const runId = crypto.randomUUID();
    noteRun(dir, runId);
    const left = new Deno.Command("/bin/sleep", { args: ["100"], env: { [RUN_MARKER]: runId } }).spawn();
    const foreign = new Deno.Command("/bin/sleep", { args: ["100"], env: { [RUN_MARKER]: "another" } })
      .spawn();
    const ended = await endLeftovers({ stateDir: dir, clock: systemClock, log: noLog });
    assertEquals([ended, (await left.status).signal], [1, "SIGKILL"]);
    foreign.kill("SIGTERM");
    assertEquals((await foreign.status).signal, "SIGTERM");
    assertEquals(await endLeftovers({ stateDir: dir, clock: systemClock, log: noLog }), 0);
    Deno.writeTextFileSync(join(dir, "run.json"), "\0garbage");
    assertEquals(await endLeftovers({ stateDir: dir, clock: systemClock, log: noLog }), 0);
  });
});

Deno.test("a run that could not be looked after stays noted beside the next one", async () => {
  await withTempDir(async (dir) => {
    const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];
    noteRun(dir, first);
    const swept: string[] = [];
    const answers = new Map<string, number>([[first, -1], [second, 2]]);
    const guard = (runId: string) => ({
      sweep: () => Promise.resolve((swept.push(runId), answers.get(runId)!)),
      dispose: () => Promise.resolve(),
    });
    const end = () => endLeftovers({ stateDir: dir, clock: systemClock, log: noLog, guard });
    assertEquals(await end(), 0);
    assertEquals(hasRunNote(dir), true);
    noteRun(dir, second);
    assertEquals(await end(), 2);
    answers.set(first, 1);
    assertEquals(await end(), 1);
    assertEquals(swept, [first, first, second, first]);
    assertEquals(hasRunNote(dir), false);
  });
});

Deno.test("lockInstance gives each of many the next slot and refuses a fixed id that is taken", async () => {
  await withTempDir((dir) => {
    const take = (fixed: boolean) =>
      lockInstance({
        stateDir: dir,
        agentId: (slot) => slot === 1 ? "a" : `a-${slot}`,
        fixed,
        pid: Deno.pid,
      });
    const locks = [take(false), take(false), take(false)];
    assertEquals(locks.map((lock) => lock.agentId), ["a", "a-2", "a-3"]);
    let refused: unknown;
    try {
      take(true);
    } catch (error) {
      refused = error;
    }
    assert(refused instanceof RunnerError && refused.message === `agent a is run by pid ${Deno.pid}`);
    locks[1]!.release();
    locks[1]!.release();
    const again = take(false);
    assertEquals(again.agentId, "a-2");
    for (const lock of [...locks, again]) lock.release();
  });
});

Deno.test("a lock that is released is free at once, also while another thread starts processes", async () => {
  await withTempDir(async (dir) => {
    const got = new Set<string>();
    await whileForking(() => {
      for (let i = 0; i < 3_000; i++) {
        const lock = lockInstance({
          stateDir: dir,
          agentId: (slot) => `a-${slot}`,
          fixed: false,
          pid: Deno.pid,
        });
        got.add(lock.agentId);
        lock.release();
      }
    });
    assertEquals([...got], ["a-1"]);
  });
});

Deno.test("a start waits for a run of its place that is just ending, and for no other", async () => {
  await withTempDir(async (stateDir) => {
    const options = { stateDir, agentId: (slot: number) => `a-${slot}`, fixed: false, pid: 7 };
    const first = lockInstance(options);
    const second = await lockInstanceAfterEnd(options, systemClock);
    assertEquals([first.agentId, second.agentId], ["a-1", "a-2"], "one that serves is passed over");
    first.ending();
    const waiting = lockInstanceAfterEnd(options, systemClock);
    const pid = Deno.readTextFileSync(`${first.dir}/lock`);
    assertEquals(pid, "7 ending\n");
    first.release();
    const third = await waiting;
    assertEquals(third.agentId, "a-1");
    third.ending();
    third.release();
    second.release();
  });
});
