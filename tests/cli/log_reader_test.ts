import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { systemClock } from "../../lib/base/clock.ts";
import { createLogFile } from "../../lib/cli/run/log_file.ts";
import { lastLines, LogFollower } from "../../lib/cli/run/log_reader.ts";
import { until, withTempDir } from "../support/temp.ts";

const line = (n: number) => ({
  at: n,
  level: "info" as const,
  category: "",
  message: `line ${n}`,
  fields: {},
});
const numbers = (lines: readonly string[]) => lines.map((each) => Number(/line (\d+)/.exec(each)![1]));

Deno.test("the last lines come from the rotated files as well, oldest first", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "a.log");
    Deno.writeTextFileSync(`${path}.2`, "line 1\nline 2\n");
    Deno.writeTextFileSync(`${path}.1`, "line 3\nline 4\n");
    Deno.writeTextFileSync(path, "line 5\nline 6\nhalf of li");
    const last = (count: number) => numbers(lastLines(path, count, (each) => each).lines);
    assertEquals(last(3), [4, 5, 6]);
    assertEquals(last(100), [1, 2, 3, 4, 5, 6]);
    assertEquals(last(0), []);
    const even = lastLines(path, 2, (each) => /[246]/.test(each) ? each : null);
    assertEquals(numbers(even.lines), [4, 6]);
    assertEquals(even.next, "line 5\nline 6\n".length, "what is not whole yet is for later");
    assertEquals(lastLines(join(dir, "none.log"), 5, (each) => each), { lines: [], next: 0 });
  });
});

Deno.test("a follower gets every line once, across rotations and from before the log is there", async () => {
  await withTempDir(async (dir) => {
    const path = join(dir, "a.log");
    const over = new AbortController();
    const heard: string[] = [];
    const following = (async () => {
      for await (const each of new LogFollower(path, 0).lines(systemClock, over.signal)) heard.push(each);
    })();
    const log = createLogFile();
    log.sink(line(1));
    log.open(path);
    await until("the first line", () => heard.length === 1);
    log.sink(line(2));
    // As `createLogFile` rotates, with lines that were written just before.
    log.sink(line(3));
    log.close();
    Deno.renameSync(path, `${path}.1`);
    const next = createLogFile();
    next.open(path);
    next.sink(line(4));
    await until("the line after the rotation", () => heard.length === 4);
    over.abort();
    await following;
    next.close();
    assertEquals(numbers(heard), [1, 2, 3, 4]);
  });
});

Deno.test("a log goes on in its old file when no new one can be opened, and is rotated once that is possible", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "logs", "a.log");
    const log = createLogFile();
    log.open(path);
    const long = { ...line(0), message: "x".repeat(1024 * 1024) };
    for (let n = 0; n < 10; n++) log.sink(long);
    // In the way of a new file, whoever opens it.
    const rename = Deno.renameSync;
    Deno.renameSync = (from, to) => {
      rename(from, to);
      if (from === path) Deno.mkdirSync(path);
    };
    try {
      log.sink(long);
      log.sink(line(1));
    } finally {
      Deno.renameSync = rename;
    }
    assertEquals(numbers(Deno.readTextFileSync(`${path}.1`).trim().split("\n").slice(-1)), [1]);
    Deno.removeSync(path);
    for (let n = 0; n < 11; n++) log.sink(long);
    log.sink(line(2));
    log.close();
    assertEquals(numbers(Deno.readTextFileSync(path).trim().split("\n").slice(-1)), [2]);
  });
});

Deno.test("a log file keeps what was logged before its place was known, and not without end", async () => {
  await withTempDir((dir) => {
    const path = join(dir, "logs", "a.log");
    const log = createLogFile();
    for (let n = 1; n <= 150; n++) log.sink(line(n));
    log.open(path);
    log.sink(line(151));
    log.close();
    log.close();
    log.sink(line(152));
    const kept = numbers(Deno.readTextFileSync(path).trim().split("\n"));
    assertEquals([kept.length, kept[0], kept[99], kept[100]], [101, 1, 100, 151]);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  });
});
