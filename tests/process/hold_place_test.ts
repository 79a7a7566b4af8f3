import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { RunnerError } from "../../lib/base/errors.ts";
import { holdPlace, lockInstance, lockInstanceAfterEnd } from "../../lib/process/lock.ts";
import { until, withTempDir } from "../support/temp.ts";

const LONG_AGO = new Date("2025-01-02T03:04:05Z");

/** A place that a runner had long ago. */
function usedPlace(stateDir: string): { dir: string; lock: string } {
  const dir = join(stateDir, "a");
  lockInstance({ stateDir, agentId: () => "a", fixed: true, pid: 7 }).release();
  const lock = join(dir, "lock");
  Deno.utimeSync(lock, LONG_AGO, LONG_AGO);
  return { dir, lock };
}

Deno.test("holdPlace() takes only a place where a runner was, and makes none", async () => {
  await withTempDir((stateDir) => {
    assertEquals(holdPlace(join(stateDir, "a"), 1), { state: "none" });
    assertEquals([...Deno.readDirSync(stateDir)], []);
    const { dir, lock } = usedPlace(stateDir);
    Deno.renameSync(lock, join(stateDir, "elsewhere"));
    Deno.symlinkSync(join(stateDir, "elsewhere"), lock);
    assertEquals(holdPlace(dir, 1), { state: "none" });
  });
});

Deno.test("holdPlace() is refused by a run, and says whether it is ending", async () => {
  await withTempDir((stateDir) => {
    const run = lockInstance({ stateDir, agentId: () => "a", fixed: true, pid: 7 });
    assertEquals(holdPlace(run.dir, 1), { state: "taken", ending: false });
    run.ending();
    assertEquals(holdPlace(run.dir, 1), { state: "taken", ending: true });
    assertEquals(Deno.readTextFileSync(join(run.dir, "lock")), "7 ending\n", "its note is left alone");
    run.release();
  });
});

Deno.test("holdPlace() gives a place back as it was found", async () => {
  await withTempDir((stateDir) => {
    const { dir, lock } = usedPlace(stateDir);
    const hold = holdPlace(dir, 1);
    assert(hold.state === "held");
    assertEquals(hold.place.usedAt, LONG_AGO.getTime());
    hold.place.release();
    hold.place.release();
    const { mtime, size } = Deno.statSync(lock);
    assertEquals([mtime, size], [LONG_AGO, 0]);
  });
});

Deno.test("a start waits while a place is held, and begins anew when the place was taken away", async () => {
  await withTempDir(async (stateDir) => {
    const options = { stateDir, agentId: (slot: number) => slot === 1 ? "a" : `a-${slot}`, pid: 7 };
    for (const fixed of [true, false]) {
      const { dir } = usedPlace(stateDir);
      Deno.writeTextFileSync(join(dir, "old"), "");
      const hold = holdPlace(dir, 1);
      assert(hold.state === "held");
      const error = assertThrows(() => lockInstance({ ...options, fixed: true }), RunnerError);
      assertEquals(error.code, "E_LOCKED");
      const waiting = lockInstanceAfterEnd({ ...options, fixed }, systemClock);
      Deno.renameSync(dir, join(stateDir, `.gone-${fixed}`));
      hold.place.release();
      const lock = await waiting;
      assertEquals([lock.agentId, [...Deno.readDirSync(dir)].map(({ name }) => name)], ["a", ["lock"]]);
      assertEquals(holdPlace(dir, 1), { state: "taken", ending: false });
      lock.release();
      Deno.removeSync(dir, { recursive: true });
    }
  });
});

/** Has something happen right before or after the next file is opened. */
function atNextOpen(when: "before" | "after", work: () => void): void {
  const { openSync } = Deno;
  Deno.openSync = (...args) => {
    Deno.openSync = openSync;
    if (when === "before") work();
    const file = openSync(...args);
    if (when === "after") work();
    return file;
  };
}

for (const when of ["before", "after"] as const) {
  Deno.test(`a start makes its place anew when it is taken away right ${when} its lock is opened`, async () => {
    await withTempDir((stateDir) => {
      const { dir } = usedPlace(stateDir);
      atNextOpen(when, () => Deno.renameSync(dir, join(stateDir, ".gone")));
      const lock = lockInstance({ stateDir, agentId: () => "a", fixed: true, pid: 7 });
      assertEquals(Deno.readTextFileSync(join(dir, "lock")), "7\n");
      assertEquals(holdPlace(dir, 1), { state: "taken", ending: false });
      lock.release();
    });
  });
}

Deno.test("a start never gets a place that is taken away at that moment, and two never get the same", async () => {
  await withTempDir(async (stateDir) => {
    const url = new URL("../support/place_taker.ts", import.meta.url);
    const workers = [1, 2].map((number) => new Worker(url, { type: "module", name: String(number) }));
    try {
      const over = new Int32Array(new SharedArrayBuffer(4));
      const reports = workers.map((worker) =>
        new Promise<{ got: number; wrong: string[] }>((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = (event) => reject(new Error(event.message));
          worker.postMessage({ stateDir, over });
        })
      );
      await until("the first place", () => [...Deno.readDirSync(stateDir)].length > 0);
      let taken = 0;
      for (const end = performance.now() + 20_000; taken < 30 && performance.now() < end;) {
        const dir = join(stateDir, "a");
        const hold = holdPlace(dir, 1);
        if (hold.state !== "held") continue;
        const aside = join(stateDir, `.gone-${taken++}`);
        Deno.renameSync(dir, aside);
        hold.place.release();
        Deno.removeSync(aside, { recursive: true });
      }
      Atomics.store(over, 0, 1);
      const all = await Promise.all(reports);
      assertEquals(all.flatMap(({ wrong }) => wrong), []);
      const got = all.reduce((sum, each) => sum + each.got, 0);
      assert(got >= 30 && taken === 30, `${got} starts, ${taken} places taken away`);
    } finally {
      for (const worker of workers) worker.terminate();
    }
  });
});
