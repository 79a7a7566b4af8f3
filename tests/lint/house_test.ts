import { assertEquals } from "@std/assert";
import plugin, { importProblem } from "../../.github/lint/house.ts";

const ROOT = new URL("../../", import.meta.url);

const messages = (file: string, source: string) =>
  Deno.lint.runPlugin(plugin, `/repo/${file}`, source).map((diagnostic) => diagnostic.message);

Deno.test("importProblem allows the way down and the own room", () => {
  assertEquals(importProblem("/repo/lib/cli/main.ts", "../runner/runner.ts"), null);
  assertEquals(importProblem("/repo/lib/relay/host.ts", "agent-relay-sdk"), null);
  assertEquals(importProblem("/repo/lib/runner/runner.ts", "./core/step.ts"), null);
  assertEquals(importProblem("/repo/lib/inbox/contract.ts", "../providers/contract.ts"), null);
});

Deno.test("importProblem refuses the way up and sideways", () => {
  for (
    const [from, to] of [
      ["/repo/lib/base/log.ts", "../cli/main.ts"],
      ["/repo/lib/providers/echo/adapter.ts", "../../runner/runner.ts"],
      ["/repo/lib/inbox/journal.ts", "../providers/echo/adapter.ts"],
      ["/repo/lib/protocol/codec.ts", "agent-relay-sdk"],
      ["/repo/lib/somewhere/x.ts", "../base/log.ts"],
    ] as const
  ) assertEquals(importProblem(from, to) === null, false, `${from} -> ${to}`);
});

Deno.test("import-direction reports dynamic imports and re-exports too", () => {
  assertEquals(messages("lib/base/a.ts", 'export * from "../cli/main.ts";').length, 1);
  assertEquals(messages("lib/base/a.ts", 'const m = await import("../cli/main.ts");').length, 1);
  assertEquals(messages("lib/cli/a.ts", 'const m = await import("../relay/serve.ts");'), []);
});

Deno.test("pure-core reports clocks, randomness and the platform inside the core only", () => {
  const source =
    "const a = Date.now(); const b = Math.random(); setTimeout(() => {}, 1); new Date(); Deno.pid;";
  assertEquals(messages("lib/runner/core/a.ts", source).length, 5);
  assertEquals(messages("lib/inbox/core/a.ts", "fetch('x')").length, 1);
  assertEquals(messages("lib/cli/a.ts", source), []);
});

Deno.test("pure-core reports every way to an impure global, and nothing that only has its name", () => {
  for (
    const source of [
      "globalThis.setTimeout(() => {}, 1);",
      'globalThis["fetch"]("x");',
      "const { now } = Date;",
      "const { random } = Math;",
      "let now; ({ now } = Date);",
      'Date["now"]();',
      "const later = setTimeout;",
      "const time = { later: setImmediate };",
      "run(queueMicrotask);",
      "const { setTimeout: later } = globalThis;",
      "Temporal.Now.instant();",
      "performance.now();",
      "crypto.randomUUID();",
      "console.log(1);",
      "new Date(5);",
      "new Worker(url);",
      "AbortSignal.timeout(5);",
      "class A { later = setInterval }",
      "const f = (at = Date.now()) => at;",
    ]
  ) assertEquals(messages("lib/runner/core/a.ts", source).length >= 1, true, source);
  for (
    const source of [
      "Math.max(1, 2);",
      "Date.parse(text);",
      "ports.fetch(); ports.setTimeout = null; ({ crypto: 1, fetch() {} });",
      "type A = Date | typeof setTimeout | Deno.Signal; let a: AbortSignal;",
      "interface B { process: string; setTimeout(): void }",
    ]
  ) assertEquals(messages("lib/runner/core/a.ts", source), [], source);
});

Deno.test("pure-core-imports lets types of the ports in, and no value of them or of anybody else's", () => {
  for (
    const source of [
      'import { randomUUID } from "node:crypto";',
      'import type { A } from "./a.ts"; import "node:timers";',
      'import { systemClock } from "../../base/clock.ts";',
      'import { type Clock, delay } from "../../base/clock.ts";',
      'import * as clock from "../../base/clock.ts";',
      'export { randomHex } from "../../base/secret.ts";',
      'export * from "../../base/secret.ts";',
      'import { parseArgs } from "@std/cli";',
      "const m = await import(name);",
    ]
  ) assertEquals(messages("lib/runner/core/a.ts", source).length, 1, source);
  for (
    const source of [
      'import type { Clock } from "../../base/clock.ts";',
      'import { type Clock } from "../../base/clock.ts";',
      'export type { Clock } from "../../base/clock.ts";',
      'import { showDuration } from "../../base/duration.ts";',
    ]
  ) assertEquals(messages("lib/runner/core/a.ts", source), [], source);
  assertEquals(
    messages("lib/runner/a.ts", 'import { delay } from "../base/clock.ts"; import "node:fs";'),
    [],
  );
});

Deno.test("what the core reaches by imports is as pure as the core", () => {
  // Takes the platform's own hash functions, which compute and no more.
  const known = new Set(["lib/base/hash.ts"]);
  const seen = new Set<string>();
  const visit = (path: string) => {
    if (seen.has(path) || known.has(path)) return;
    seen.add(path);
    const source = Deno.readTextFileSync(new URL(path, ROOT));
    const core = path.replace(/^lib\/(?:.*\/)?/, "lib/runner/core/");
    const impure = Deno.lint.runPlugin(plugin, `/repo/${core}`, source)
      .filter(({ id }) => id === "house/pure-core");
    assertEquals(impure.map(({ message }) => message), [], path);
    for (const [statement, specifier] of source.matchAll(/^(?:im|ex)port [^;]*? from "(\.[^"]+)";/gms)) {
      if (/^(?:im|ex)port type /.test(statement)) continue;
      visit(new URL(specifier!, new URL(path, ROOT)).href.slice(ROOT.href.length));
    }
  };
  for (const dir of ["lib/runner/core", "lib/inbox/core"]) {
    for (const { name } of Deno.readDirSync(new URL(dir, ROOT))) visit(`${dir}/${name}`);
  }
  assertEquals(seen.has("lib/base/duration.ts"), true);
});

Deno.test("injected-time reports clocks, timers and chance everywhere but where they come from", () => {
  for (
    const source of [
      "setTimeout(() => {}, 1);",
      "globalThis.setInterval(() => {}, 1);",
      "const random = Math.random;",
      "const { now } = performance;",
      "const at = Date.now();",
      "const at = new Date();",
      "const text = Date();",
      'import { setTimeout as later } from "node:timers/promises";',
    ]
  ) {
    for (const file of ["lib/relay/a.ts", "lib/runner/a.ts", "lib/providers/echo/a.ts"]) {
      assertEquals(messages(file, source).length, 1, `${file}: ${source}`);
    }
    for (const file of ["lib/base/a.ts", "lib/cli/verbs/a.ts", "tests/a.ts", ".github/release/a.ts"]) {
      assertEquals(messages(file, source), [], `${file}: ${source}`);
    }
  }
  const harmless =
    "new Date(at); at instanceof Date; Math.max(1, 2); clock.setTimeout(); let t: ReturnType<typeof setTimeout>;";
  assertEquals(messages("lib/relay/a.ts", harmless), []);
});

Deno.test("process-edges reports the environment outside main.ts and lib/cli, however it is reached", () => {
  assertEquals(messages("lib/config/a.ts", "Deno.env.get('A'); Deno.exit(1); Deno.args;").length, 3);
  for (
    const source of [
      "const { env } = Deno;",
      'Deno["env"].get("A");',
      "Deno[name];",
      "const { ...all } = Deno;",
      "const d = Deno;",
      "const { Deno: d } = globalThis;",
      'globalThis.Deno.env.get("A");',
      "process.env.A;",
      "Deno.exitCode = 1;",
    ]
  ) assertEquals(messages("lib/config/a.ts", source).length, 1, source);
  assertEquals(messages("lib/config/a.ts", "Deno.build.os; const { pid } = Deno; process.ended;"), []);
  assertEquals(messages("lib/cli/a.ts", "Deno.env.get('A'); const { env } = Deno;"), []);
  assertEquals(messages("main.ts", "Deno.exit(1);"), []);
});
