import { assertEquals } from "@std/assert";
import { configSchema, providerSchema } from "../../lib/config/schema.ts";
import type { ShapeProblem } from "../../lib/config/shape.ts";

function problems(
  shape: (value: unknown, path: string, problems: ShapeProblem[]) => void,
  value: unknown,
): string[] {
  const found: ShapeProblem[] = [];
  shape(value, "", found);
  return found.map(({ path, message }) => `${path} ${message}`);
}

Deno.test("a file that says everything it may say has no problem", () => {
  assertEquals(
    problems(configSchema, { relayUrl: "http://x", relayPort: 65_535, token: "t", defaultCwd: "/" }),
    [],
  );
  assertEquals(
    problems(providerSchema, {
      command: "codex",
      defaultArgs: ["-m", ""],
      env: { A_1: "" },
      passEnv: ["A"],
      pluginDirs: [""],
      defaultCapabilities: ["chat"],
      defaultApprovalMode: "open",
      defaultTags: [],
      delivery: "monitor",
      headless: { tmuxPrefix: "a", shutdownTimeoutMs: 100 },
      allowUnsafeEnv: false,
    }),
    [],
  );
});

Deno.test("every value of a wrong type is told with its path, what is expected and what is there", () => {
  assertEquals(problems(configSchema, { relayUrl: 1, relayPort: "4850", token: null, defaultCwd: [] }), [
    "relayUrl must be a string, got number",
    'relayPort must be a number, got "4850"',
    "token must be a string, got null",
    "defaultCwd must be a string, got list",
  ]);
  assertEquals(
    problems(providerSchema, {
      defaultArgs: "x",
      env: [],
      passEnv: ["A", 2],
      defaultApprovalMode: "yolo",
      headless: { shutdownTimeoutMs: "1s" },
      allowUnsafeEnv: "no",
    }),
    [
      'defaultArgs must be a list, got "x"',
      "env must be an object, got list",
      "passEnv[1] must be a string, got number",
      'defaultApprovalMode must be one of read-only, guarded, open, got "yolo"',
      "headless.shutdownTimeoutMs must be an integer 100..600000",
      'allowUnsafeEnv must be a boolean, got "no"',
    ],
  );
});

Deno.test("every value out of its bounds is told, and every key that is not known", () => {
  assertEquals(problems(configSchema, { relayPort: 0.5, token: "", a: 1, b: 2 }), [
    "relayPort must be an integer 1..65535",
    "token is empty",
    "a unknown key",
    "b unknown key",
  ]);
  assertEquals(problems(configSchema, { token: "secret\nX: y" }), [
    "token has characters that a header cannot carry",
  ]);
  assertEquals(problems(configSchema, { token: "t".repeat(4_097) }), ["token is larger than 4 KiB"]);
  assertEquals(
    problems(providerSchema, {
      command: "",
      env: { "": "x", "1A": "x", toString: "a\0b" },
      defaultTags: ["a b"],
      headless: { shutdownTimeoutMs: 99, hasOwnProperty: 1 },
    }),
    [
      "command must not be empty",
      "env. has an empty name",
      "env.1A is not a valid variable name",
      "env.toString contains a NUL byte",
      "defaultTags[0] has 1 to 64 of A-Za-z0-9._-",
      "headless.shutdownTimeoutMs must be an integer 100..600000",
      "headless.hasOwnProperty unknown key",
    ],
  );
});
