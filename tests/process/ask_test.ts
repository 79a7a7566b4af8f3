import { assert, assertEquals } from "@std/assert";
import { systemClock } from "../../lib/base/clock.ts";
import { ask } from "../../lib/process/ask.ts";
import { cpuTimeMs } from "../../lib/process/cpu_time.ts";
import { until } from "../support/temp.ts";
import { processesWith } from "../support/runner_process.ts";

Deno.test("ask() tells how a program ended and what it said, and that one is not there", async () => {
  const options = { clock: systemClock, timeoutMs: 10_000, env: { X: "x" }, cwd: "/" };
  const said = await ask("/bin/sh", ["-c", "echo $X; pwd; echo no >&2; exit 3"], options);
  assertEquals(said, { state: "ended", code: 3, out: "x\n/\n", err: "no\n" });
  assertEquals(await ask("/no/such/program", [], options), { state: "missing" });
});

Deno.test("ask() kills a program that does not end in time", async () => {
  const marker = `ASK_TEST=${crypto.randomUUID()}`;
  const [name, value] = marker.split("=") as [string, string];
  const options = { clock: systemClock, timeoutMs: 50, env: { [name]: value } };
  assertEquals(await ask("/bin/sleep", ["60"], options), { state: "silent" });
  await until("its end", async () => (await processesWith(marker)).length === 0);
});

Deno.test("cpuTimeMs() tells the processor time of a process that lives, and of no other", async () => {
  const own = await cpuTimeMs(Deno.pid, systemClock);
  assert(own !== null && own >= 0 && own % 1_000 === 0, String(own));
  // Above what any system gives to a process.
  assertEquals(await cpuTimeMs(2 ** 31 - 1, systemClock), null);
});
