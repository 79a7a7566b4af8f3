import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { noLog } from "../../lib/base/log.ts";
import { type Guard, startGuard } from "../../lib/process/guard.ts";
import { GUARD_SCRIPT } from "../../lib/process/guard_script.ts";
import { endLeftovers } from "../../lib/process/leftovers.ts";
import { createProcesses, RUN_MARKER } from "../../lib/process/mod.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { processesWith, RUN_ARGS } from "../support/runner_process.ts";
import { SETSID } from "../support/shells.ts";
import { until, withTempDir } from "../support/temp.ts";

async function withGuard(work: (guard: Guard, runId: string) => Promise<void>): Promise<void> {
  const runId = crypto.randomUUID();
  const guard = startGuard({ runId, clock: systemClock, log: noLog });
  try {
    await work(guard, runId);
  } finally {
    await guard.dispose();
  }
}

function marked(runId: string): Deno.ChildProcess {
  return new Deno.Command("/bin/sleep", { args: ["100"], env: { [RUN_MARKER]: runId } }).spawn();
}

async function commands(options = "-ax"): Promise<string[]> {
  const { stdout } = await new Deno.Command("ps", { args: [options, "-o", "args="] }).output();
  return new TextDecoder().decode(stdout).split("\n");
}

Deno.test("a sweep is answered when its guard is killed before or while it looks", async () => {
  await withGuard(async (guard, runId) => {
    for (const when of ["before", "while"] as const) {
      const child = marked(runId);
      const { pid } = guard;
      if (when === "before") {
        Deno.kill(pid, "SIGKILL");
        await until(
          "the end of the guard",
          async () => !(await commands()).some((each) => each.includes(`${runId} `)),
        );
      }
      const swept = guard.sweep();
      if (when === "while") Deno.kill(pid, "SIGKILL");
      assert(await swept >= 0, when);
      assertEquals((await child.status).signal, "SIGKILL", when);
    }
  });
});

Deno.test("a guard that somebody stopped is woken for a sweep", async () => {
  await withGuard(async (guard, runId) => {
    const child = marked(runId);
    Deno.kill(guard.pid, "SIGSTOP");
    assertEquals(await guard.sweep(), 1);
    assertEquals((await child.status).signal, "SIGKILL");
  });
});

Deno.test("a deadline that was taken back leaves no process behind", async () => {
  const seconds = 900 + Math.floor(Math.random() * 90_000) / 10;
  const waits = async () =>
    (await commands()).filter((each) => each === `sleep ${seconds.toFixed(1)}`).length;
  await withGuard(async (guard) => {
    guard.deadline(seconds * 1000);
    await until("the watchdog", async () => await waits() === 1);
    guard.deadline(0);
    await until("the end of the watchdog", async () => await waits() === 0);
    guard.deadline(seconds * 1000);
    await until("another watchdog", async () => await waits() === 1);
  });
  await until("the end of it with the guard", async () => await waits() === 0);
});

Deno.test("what a child leaves when it ends by itself is ended at once, and its output ends with it", async () => {
  const runId = crypto.randomUUID();
  const processes = createProcesses({ runId, clock: systemClock, log: noLog });
  const child = await processes.spawn({
    command: "/bin/sh",
    args: ["-c", SETSID + "sleep 100 & setsid sleep 100 & echo said; exit 3"],
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    ownGroup: true,
  });
  // Both sleepers hold the pipe: whoever waits for its end would wait for them.
  assertEquals(await new Response(child.stdout).text(), "said\n");
  assertEquals((await child.exited).code, 3);
  await until("the end of the rest", async () => (await processesWith(runId)).length === 0);
  await processes.dispose({ graceMs: 0 });
});

Deno.test("a child's output ends soon after it, also when something that cannot be found holds it open", async () => {
  const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
  const child = await processes.spawn({
    command: "/bin/sh",
    // Out of the group, without the marker; its id is said on stderr, so that the test can end it.
    args: ["-c", SETSID + "setsid env -i /bin/sleep 500 & echo said; echo $! >&2; exit 3"],
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ownGroup: true,
  });
  const texts = await Promise.all([child.stdout, child.stderr].map((stream) => new Response(stream).text()));
  assertEquals([texts[0], (await child.exited).code], ["said\n", 3]);
  await processes.dispose({ graceMs: 0 });
  Deno.kill(Number(texts[1]), "SIGKILL");
});

/** Where ps can be told to show the environment as macOS's does. */
const LISTS_ENVIRONMENT = (await commands("axwwe")).some((each) => / PATH=/.test(each));

Deno.test({
  name: `a system without /proc is swept by what ps lists, also of what searches itself${
    LISTS_ENVIRONMENT ? "" : " (SKIPPED: ps lists no environment)"
  }`,
  ignore: !LISTS_ENVIRONMENT,
  fn: () =>
    withTempDir(async (dir) => {
      Deno.writeTextFileSync(join(dir, "ps"), '#!/bin/sh\nshift\nexec /bin/ps axwwe "$@"\n', { mode: 0o755 });
      const runId = crypto.randomUUID();
      const env = { [RUN_MARKER]: runId, PATH: "/usr/bin:/bin" };
      const start = (args: string[], env: Record<string, string>) =>
        new Deno.Command("/bin/sh", {
          args: ["-c", "read -r _; :", ...args],
          env,
          stdin: "piped",
          stdout: "null",
        })
          .spawn();
      const ours = [start([], env), start(["grep -F"], env)];
      // Neither a longer id nor the name in somebody's arguments is the marker.
      const foreign = [start([`${RUN_MARKER}=`], {}), start([], { [RUN_MARKER]: `${runId}0` })];
      const script = GUARD_SCRIPT.replaceAll("-d /proc/self", "-d /nowhere");
      assert(script !== GUARD_SCRIPT);
      const guard = new Deno.Command("/bin/sh", {
        args: ["-c", script, "relay-guard", runId, String(Deno.pid)],
        clearEnv: true,
        env: { PATH: `${dir}:/usr/bin:/bin` },
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const input = guard.stdin.getWriter();
      await input.write(new TextEncoder().encode("sweep 1\nbye\n"));
      await input.close();
      assertEquals(await new Response(guard.stdout).text(), "swept 1 2\n");
      await guard.status;
      for (const child of ours) assertEquals((await child.status).signal, "SIGKILL");
      for (const child of [...ours, ...foreign]) await child.stdin.close().catch(() => {});
      for (const child of foreign) assertEquals((await child.status).code, 0);
    }),
});

/** Everything a child may do in order not to be found: fork, setsid, fork twice, ignore TERM, stop itself. */
const HIDING = `${SETSID}sleep 300 &
setsid sh -c 'trap "" TERM HUP INT; sleep 300; :' &
(setsid sh -c '(sleep 300 &) ; sleep 300' &)
sh -c 'kill -STOP $$; sleep 300' &
wait`;
const KILLS = 8;

Deno.test("nothing survives a SIGKILL of runner or of runner and guard, however it hides", async () => {
  await withTempDir(async (dir) => {
    const script = join(dir, "owner.ts");
    const lib = new URL("../../lib/", import.meta.url).href;
    await Deno.writeTextFile(
      script,
      `import { createProcesses } from "${lib}process/mod.ts";
       import { noteRun } from "${lib}process/leftovers.ts";
       import { systemClock } from "${lib}base/clock.ts";
       import { noLog } from "${lib}base/log.ts";
       const [runId, stateDir] = Deno.args as [string, string];
       noteRun(stateDir, runId);
       const processes = createProcesses({ runId, clock: systemClock, log: noLog });
       await processes.spawn({ command: "/bin/sh", args: ["-c", ${JSON.stringify(HIDING)}], cwd: "/",
         env: { PATH: "/usr/bin:/bin" }, stdin: "null", stdout: "null", stderr: "null", ownGroup: true });
       console.log(processes.guardPid);
       await new Promise((resolve) => setTimeout(resolve, 100_000));`,
    );
    let cleaned = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const runId = crypto.randomUUID();
      const left = () => processesWith(`${RUN_MARKER}=${runId}`);
      const owner = new Deno.Command(Deno.execPath(), {
        args: [...RUN_ARGS.slice(0, -1), script, runId, dir],
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const reader = owner.stdout.getReader();
      const guard = Number(new TextDecoder().decode((await reader.read()).value).trim());
      await until("the tree", async () => (await left()).length >= 7);
      const both = kill % 2 === 1;
      if (both) Deno.kill(guard, "SIGKILL");
      owner.kill("SIGKILL");
      await owner.status;
      await reader.cancel();
      if (both) cleaned += await endLeftovers({ stateDir: dir, clock: systemClock, log: noLog });
      // Within 5 s; measured 0.3 s.
      await until("the end of the tree", async () => (await left()).length === 0, 5_000);
    }
    assert(cleaned >= 7 * (KILLS / 2) - KILLS, `the next start had ${cleaned} processes to end`);
  });
});

Deno.test("a member of the agent's group that has dropped the marker ends when the runner is killed", async () => {
  await withTempDir(async (dir) => {
    const script = join(dir, "owner.ts");
    const lib = new URL("../../lib/", import.meta.url).href;
    const sleep = `sleep ${300 + Math.random()}`;
    await Deno.writeTextFile(
      script,
      `import { createProcesses } from "${lib}process/mod.ts";
       import { systemClock } from "${lib}base/clock.ts";
       import { noLog } from "${lib}base/log.ts";
       const processes = createProcesses({ runId: crypto.randomUUID(), clock: systemClock, log: noLog });
       await processes.spawn({ command: "/bin/sh", args: ["-c", "env -i ${sleep} & echo; wait"], cwd: "/",
         env: { PATH: "/usr/bin:/bin" }, stdin: "null", stdout: "inherit", stderr: "null", ownGroup: true });
       await new Promise((resolve) => setTimeout(resolve, 100_000));`,
    );
    const owner = new Deno.Command(Deno.execPath(), {
      args: [...RUN_ARGS.slice(0, -1), script],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const sleeps = async () => (await commands()).includes(sleep);
    await until("the agent", sleeps);
    owner.kill("SIGKILL");
    await owner.status;
    await until("its end", async () => !await sleeps(), 5_000);
    await owner.stdout.cancel();
  });
});

/** Needs a kernel and a user that may say which process id comes next; skipped elsewhere. */
const CHOOSES_IDS = new Deno.Command("/bin/sh", {
  args: ["-c", 'last=/proc/sys/kernel/ns_last_pid; id=$(cat $last) && echo "$id" > $last'],
  stderr: "null",
}).outputSync().success;

for (const late of [false, true]) {
  Deno.test({
    name: `the process that got the id of a group that is gone is left alone when the runner is killed, ${
      late ? "also when the guard hears of the group only then" : "and the guard knew the group"
    }${CHOOSES_IDS ? "" : " (SKIPPED: ids cannot be chosen here)"}`,
    ignore: !CHOOSES_IDS,
    fn: () => withTempDir((dir) => leavesTheForeign(dir, late)),
  });
}

Deno.test({
  name: `the process that got the id of an agent that left nothing in its group is left alone${
    CHOOSES_IDS ? "" : " (SKIPPED: ids cannot be chosen here)"
  }`,
  ignore: !CHOOSES_IDS,
  fn: async () => {
    const clock = new FakeClock();
    const processes = createProcesses({ runId: crypto.randomUUID(), clock, log: noLog });
    const child = await processes.spawn({
      command: "/bin/true",
      args: [],
      cwd: "/",
      env: {},
      stdin: "null",
      stdout: "null",
      stderr: "null",
      ownGroup: true,
    });
    await child.exited;
    const foreign = await processWithId(child.pid);
    assert(foreign !== null, "the id was not got");
    // More than what is left in a group is given to end by itself.
    await clock.advance(500);
    await processes.dispose({ graceMs: 0 });
    assertEquals(await foreign.ask("there?"), "there?", "a foreign process was killed");
    Deno.kill(child.pid, "SIGKILL");
    await foreign.ended();
  },
});

async function leavesTheForeign(dir: string, late: boolean): Promise<void> {
  const script = join(dir, "owner.ts");
  const lib = new URL("../../lib/", import.meta.url).href;
  // A child under guard ends; its owner lives on and is then killed.
  await Deno.writeTextFile(
    script,
    `import { startGuard } from "${lib}process/guard.ts";
       import { systemClock } from "${lib}base/clock.ts";
       import { noLog } from "${lib}base/log.ts";
       const guard = startGuard({ runId: Deno.args[0]!, clock: systemClock, log: noLog });
       const late = Deno.args[1] === "late";
       if (late) Deno.kill(guard.pid, "SIGSTOP");
       const child = new Deno.Command("/bin/cat", { stdin: "piped", detached: true }).spawn();
       guard.add(child.pid);
       // It answers a sweep when it has read what was before.
       if (!late) await guard.sweep();
       await child.stdin.close();
       await child.status;
       console.log(child.pid, guard.pid);
       await new Promise((resolve) => setTimeout(resolve, 100_000));`,
  );
  const owner = new Deno.Command(Deno.execPath(), {
    args: [...RUN_ARGS.slice(0, -1), script, crypto.randomUUID(), late ? "late" : "in time"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = owner.stdout.getReader();
  const itsGuard = (each: string) => each.includes("relay-guard") && each.endsWith(` ${owner.pid}`);
  const ids = new TextDecoder().decode((await reader.read()).value).trim().split(" ").map(Number);
  const [pid, guard] = ids as [number, number];
  const foreign = await processWithId(pid);
  assert((await commands()).some(itsGuard), "no guard");
  if (late) Deno.kill(guard, "SIGCONT");
  owner.kill("SIGKILL");
  await owner.status;
  await reader.cancel();
  assert(foreign !== null, "the id was not got");
  await until("the end of the guard", async () => !(await commands()).some(itsGuard));
  // The guard has done its work. What it has killed does not answer any more, whether or not it is gone yet.
  assertEquals(await foreign.ask("there?"), "there?", "a foreign process was killed");
  Deno.kill(pid, "SIGKILL");
  await foreign.ended();
}

/** A process that says again what it is told. */
interface Echo {
  ask(words: string): Promise<string | undefined>;
  ended(): Promise<void>;
}

/** Starts a session leader with this very process id; null where that is not possible. */
async function processWithId(pid: number): Promise<Echo | null> {
  for (let tries = 0; tries < 20; tries++) {
    const child = new Deno.Command("/bin/sh", {
      args: [
        "-c",
        // The next process gets the id after the one written here, unless somebody else is faster.
        `exec 3<&0; echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid || exit 9
         setsid cat <&3 & [ $! = "$1" ] || { kill $!; exit 8; }
         echo mine
         wait`,
        "sh",
        String(pid),
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const input = child.stdin.getWriter();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const echo: Echo = {
      async ask(words) {
        await input.write(new TextEncoder().encode(`${words}\n`)).catch(() => {});
        return (await lines.read()).value?.trim();
      },
      async ended() {
        await child.status;
        await input.close().catch(() => {});
        await lines.cancel();
      },
    };
    if ((await lines.read()).value?.trim() === "mine" && await echo.ask("under way?") !== undefined) {
      return echo;
    }
    await echo.ended();
  }
  return null;
}

Deno.test("a deadline that takes the place of one set just before leaves the guard free to answer", async () => {
  for (let round = 0; round < 20; round++) {
    await withGuard(async (guard) => {
      const { pid } = guard;
      guard.deadline(60_000);
      guard.deadline(50_000);
      guard.deadline(0);
      assertEquals(await guard.sweep(), 0);
      assertEquals(guard.pid, pid, `round ${round}: it did not answer and was replaced`);
    });
  }
});
