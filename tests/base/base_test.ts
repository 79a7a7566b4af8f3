import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { ChoreAtRest } from "../../lib/base/at_rest.ts";
import { fullJitter } from "../../lib/base/backoff.ts";
import { lines, readAllCapped } from "../../lib/base/bytes.ts";
import { clampDelay, delay, TIMED_OUT, withDeadline } from "../../lib/base/clock.ts";
import { flagDuration, parseDuration } from "../../lib/base/duration.ts";
import { ERROR_CODES, RunnerError, shown } from "../../lib/base/errors.ts";
import { scanJson } from "../../lib/base/json_scan.ts";
import { createLogger, jsonLine, type LogLine } from "../../lib/base/logger.ts";
import { createRedactor, looksSecret } from "../../lib/base/redact.ts";
import { randomToken, sameSecret } from "../../lib/base/secret.ts";
import { editDistance, nearMisses } from "../../lib/base/suggest.ts";
import { deliveryIdOf, uuidBytes, uuidV5 } from "../../lib/base/uuid.ts";
import { exitCodeOf } from "../../lib/cli/exit_codes.ts";
import { FakeClock } from "../support/fake_clock.ts";
import process from "node:process";

const bytes = (text: string) => new TextEncoder().encode(text);

function streamOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(chunks);
}

Deno.test("fullJitter stays below base times 2^attempt and the cap", () => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const most = fullJitter({ attempt, baseMs: 500, capMs: 30_000, random: 0.999999 });
    assert(most < Math.min(30_000, 500 * 2 ** attempt));
    assertEquals(fullJitter({ attempt, baseMs: 500, capMs: 30_000, random: 0 }), 0);
  }
});

Deno.test("a chore is done once there is enough to do and nothing was noted for a moment", async () => {
  const clock = new FakeClock();
  let done = 0;
  const chore = new ChoreAtRest({ clock, enough: 3, restMs: 10, work: () => done++ });
  chore.note();
  chore.note();
  await clock.advance(1_000);
  assertEquals(done, 0, "two are not enough");
  for (let i = 0; i < 5; i++) {
    chore.note();
    await clock.advance(9);
  }
  assertEquals([done, clock.pending], [0, 1], "somebody may still be waiting");
  await clock.advance(1);
  assertEquals([done, clock.pending], [1, 0]);
  chore.note();
  await clock.advance(1_000);
  assertEquals(done, 1, "what was noted before is done");
  chore.note();
  chore.note();
  chore.stop();
  assertEquals(clock.pending, 0);
  await clock.advance(1_000);
  assertEquals(done, 1, "it was stopped");
});

Deno.test("lines joins characters that were split between chunks and reports a line that is too long", async () => {
  const [a, b] = [bytes("héllo\r\n").subarray(0, 2), bytes("héllo\r\n").subarray(2)];
  const found = [];
  for await (
    const line of lines(streamOf(a, b, bytes("x".repeat(50)), bytes("\nend")), { maxLineBytes: 20 })
  ) {
    found.push(line);
  }
  assertEquals(found, [
    { kind: "line", text: "héllo" },
    { kind: "too-long", bytes: 50 },
    { kind: "line", text: "end" },
  ]);
});

Deno.test("readAllCapped gives up at the cap and obeys its signal", async () => {
  assertEquals(await readAllCapped(streamOf(bytes("abc")), { maxBytes: 3 }), {
    ok: true,
    bytes: bytes("abc"),
  });
  assertEquals(await readAllCapped(streamOf(bytes("abcd")), { maxBytes: 3 }), {
    ok: false,
    reason: "too-large",
    head: bytes("abcd"),
  });
  const endless = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) });
  const abort = new AbortController();
  const reading = readAllCapped(endless, { maxBytes: 3, signal: abort.signal });
  abort.abort(new Error("enough"));
  await assertRejects(() => reading, Error, "enough");
});

Deno.test("clampDelay keeps every delay inside what a timer can hold", () => {
  assertEquals([NaN, -5, 3e9, 7].map(clampDelay), [0, 0, 2 ** 31 - 1, 7]);
});

Deno.test("withDeadline and delay leave no timer behind on any path", async () => {
  const clock = new FakeClock();
  assertEquals(await withDeadline(clock, 10, Promise.resolve(1)), 1);
  const slow = withDeadline(clock, 10, new Promise(() => {}));
  await clock.advance(10);
  assertEquals(await slow, TIMED_OUT);
  const abort = new AbortController();
  const waiting = delay(clock, 1_000, abort.signal);
  abort.abort(new Error("stop"));
  await assertRejects(() => waiting, Error, "stop");
  assertEquals(clock.pending, 0);
});

Deno.test("parseDuration takes times with units only, and flagDuration writes them back", () => {
  assertEquals(["20s", "1.5m", "250ms", "2h", "7d", "0"].map(parseDuration), [
    20_000,
    90_000,
    250,
    7_200_000,
    604_800_000,
    0,
  ]);
  for (const text of ["5", "-1s", "1e3s", "", "s", "1 s", "NaN", "99999999999s"]) {
    assertEquals(parseDuration(text), null);
  }
  for (const ms of [0, 500, 20_000, 90_000, 3_600_000]) assertEquals(parseDuration(flagDuration(ms)), ms);
});

Deno.test("shown escapes what a terminal would obey and cuts long text", () => {
  assertEquals(shown("a\x1b[2J\n\u202e\u{e0041}b"), "a\\x1b[2J\\n\\u{202e}\\u{e0041}b");
  assertEquals(shown("x".repeat(100)).length, 81);
});

Deno.test("every error code has an exit code between 1 and 78", () => {
  for (const code of ERROR_CODES) assert(exitCodeOf(code) >= 1 && exitCodeOf(code) <= 78, code);
});

Deno.test("docs/exit-codes.md has every error code in order, with the exit code that it has and what to do", () => {
  const text = Deno.readTextFileSync(new URL("../../docs/exit-codes.md", import.meta.url));
  const rows = [...text.matchAll(/^\| `(E_\w+)` +\| (\d+) +\| (\S.*?) +\| (\S.*?) +\|$/gm)];
  assertEquals(
    rows.map(([, code, exit]) => [code, Number(exit)]),
    ERROR_CODES.map((code) => [code, exitCodeOf(code)]),
  );
  // Each exit code of the list is explained above it.
  for (const [, code, exit] of rows) assert(new RegExp(`^\\| ${exit} +\\|`, "m").test(text), code);
});

Deno.test("scanJson names line and column of the first mistake", () => {
  for (
    const [text, line, column, message] of [
      ['{"a":', 1, 6, "unexpected end"],
      ['{\n  "a": 1,\n  "a": 2\n}', 3, 3, "duplicate key a"],
      ['{"__proto__": 1}', 1, 2, "key __proto__ not allowed"],
      ["[1,]", 1, 4, "expected a value"],
      ['{"a" 1}', 1, 6, 'expected ":"'],
      ['"a\nb"', 1, 3, "control character in a string"],
      ["1 2", 1, 3, "text after the end"],
      ["[".repeat(40), 1, 33, "deeper than 32"],
    ] as const
  ) {
    assertEquals(scanJson(text), { ok: false, problem: { line, column, message } }, text);
  }
});

Deno.test("scanJson agrees with the platform's parser on valid text and knows every place", () => {
  const text = '\ufeff{"a": [1, -2.5e3, "x\\u0041"], "b": {"c": null, "d": true}}';
  const scanned = scanJson(text);
  assert(scanned.ok);
  assertEquals(scanned.value, JSON.parse(text.slice(1)));
  assertEquals(scanned.places.get("b.c"), { line: 1, column: text.indexOf("null") });
  assertEquals(scanned.places.get("a[1]"), { line: 1, column: text.indexOf("-2.5e3") });
});

Deno.test("a redactor's work grows as its text does, also for one long word", () => {
  const redactor = createRedactor();
  // Processor time, which does not grow because the machine is busy; the least of five.
  const workOf = (text: string) =>
    Math.min(
      ...Array.from({ length: 5 }, () => {
        const before = process.cpuUsage();
        redactor.redact(text);
        const { user, system } = process.cpuUsage(before);
        return user + system;
      }),
    );
  for (const part of ["letters and ", "x", "http", "a:", "://", "://a:", "bearer "]) {
    for (const before of ["", "http://"]) {
      const [n, sixteen] = [20_000, 320_000].map((length) =>
        workOf(before + part.repeat(length / part.length))
      );
      // 16 times the text: 16 times the work, or 256 times where each letter looks at all that follow it.
      assert(sixteen! < 64 * Math.max(n!, 100), `${before}${part}: ${n} and ${sixteen} µs`);
    }
  }
});

Deno.test("a redactor hides a secret in every form it may take", () => {
  const redactor = createRedactor();
  const secret = 'p/ss "word"+1';
  redactor.add(secret);
  redactor.add("short");
  for (const text of [secret, encodeURIComponent(secret), JSON.stringify(secret), btoa(secret)]) {
    const redacted = redactor.redact(`before ${text} after`);
    assert(redacted.includes("[redacted]") && !redacted.includes(text), redacted);
  }
  assertEquals(redactor.redact("short word"), "short word");
  assertEquals(redactor.redact("authorization: Bearer abc.def"), "authorization: Bearer [redacted]");
  const urls = {
    "https://user:pass@host/x": "https://[redacted]@host/x",
    "https://ghp_token@host": "https://[redacted]@host",
    "postgres://u:p@ss@h/db wss://tok@h": "postgres://[redacted]@h/db wss://[redacted]@h",
    // Nothing secret: a name, a scope, a mail address after the URL, in a query or in other text.
    "ssh://git@host/x": "ssh://git@host/x",
    "https://h/@scope/x?to=a@b": "https://h/@scope/x?to=a@b",
    '{"url":"http://127.0.0.1:4850","from":"a@b"}': '{"url":"http://127.0.0.1:4850","from":"a@b"}',
    "https://h?to=a@b https://h#a@b": "https://h?to=a@b https://h#a@b",
  };
  for (const [text, clean] of Object.entries(urls)) assertEquals(redactor.redact(text), clean);
  assertEquals(["MY_API_KEY", "GITHUB_TOKEN", "PATH"].map(looksSecret), [true, true, false]);
});

Deno.test("the logger redacts and escapes messages and fields, obeys its level and survives a failing sink", () => {
  const redactor = createRedactor();
  redactor.add("topsecret");
  const seen: LogLine[] = [];
  const log = createLogger({
    level: "info",
    clock: new FakeClock(),
    redactor,
    sinks: [() => {
      throw new Error("disk full");
    }, (line) => seen.push(line)],
  });
  log.debug("hidden");
  log.child("bus").warn("token topsecret\x1b[0m", { url: "ws://topsecret", count: 2, none: undefined });
  assertEquals(seen.length, 1);
  assertEquals(seen[0]!.message, "token [redacted]\\x1b[0m");
  assertEquals(seen[0]!.fields, { url: "ws://[redacted]", count: 2 });
  assertEquals(JSON.parse(jsonLine(seen[0]!)).category, "bus");
});

Deno.test("tokens are long, distinct and compared by value", () => {
  const tokens = new Set(Array.from({ length: 100 }, () => randomToken()));
  assertEquals(tokens.size, 100);
  for (const token of tokens) assertEquals(token.length, 43);
  assert(sameSecret("abc", "abc"));
  assert(!sameSecret("abc", "abcd"));
});

Deno.test("nearMisses finds typing errors and beginnings, not strangers", () => {
  assertEquals(editDistance("headles", "headless"), 1);
  assertEquals(editDistance("recieve", "receive"), 1);
  assertEquals(nearMisses("headles", ["headless", "help", "label"]), ["headless"]);
  assertEquals(nearMisses("label:ap", ["label:api", "label:zebra"]), ["label:api"]);
  assertEquals(nearMisses("zzz", ["headless", "help"]), []);
});

Deno.test("uuidV5 follows RFC 9562 and a delivery id is the same for ever", () => {
  assertEquals(
    uuidV5(uuidBytes("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "www.example.com"),
    "2ed6657d-e927-568b-95e1-2665a8aea6a2",
  );
  assertEquals(deliveryIdOf("store", "agent", 7, 1), deliveryIdOf("store", "agent", 7, 1));
  assertNotEquals(deliveryIdOf("store", "agent", 7, 1), deliveryIdOf("store", "agent", 7, 2));
});

Deno.test("RunnerError keeps its code and cause", () => {
  const cause = new Error("inner");
  const error = assertThrows(
    () => {
      throw new RunnerError("E_CONFIG", "outer", { cause, where: "x", hint: "y" });
    },
    RunnerError,
    "outer",
  );
  assertEquals([error.code, error.cause, error.where, error.hint], ["E_CONFIG", cause, "x", "y"]);
});
