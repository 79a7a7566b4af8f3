import { assertEquals } from "@std/assert";
import plugin, { importProblem } from "../../.github/lint/house.ts";

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
  assertEquals(messages("lib/runner/a.ts", source), []);
});

Deno.test("process-edges reports the environment outside main.ts and lib/cli", () => {
  assertEquals(messages("lib/config/a.ts", "Deno.env.get('A'); Deno.exit(1); Deno.args;").length, 3);
  assertEquals(messages("lib/cli/a.ts", "Deno.env.get('A');"), []);
});
