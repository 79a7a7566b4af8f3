import { assertEquals, assertThrows } from "@std/assert";
import { dirname, fromFileUrl } from "@std/path";
import { checkProgram, foreignFiles } from "../../.github/release/compile.ts";
import { readOptions } from "../../.github/release/options.ts";
import { readPayload } from "../../.github/release/payload.ts";
import { embeddedPermissions, goldenFlags } from "../../.github/release/permissions.ts";
import { reachablePackages, runtimeImports, trimLock } from "../../.github/release/staging.ts";
import { targetOf, TARGETS } from "../../.github/release/targets.ts";
import { PLUGIN_FILES } from "../../lib/providers/claude/plugin.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const FLAGS = goldenFlags(ROOT);
const GRAPH = { npm: [{ name: "valibot", version: "1.5.0" }] };

/** A file as deno compile writes it, around the given metadata and file tree. */
function compiled(permissions: Record<string, unknown>, files: readonly string[]): Uint8Array {
  const encoder = new TextEncoder();
  const block = (text: string) => {
    const body = encoder.encode(text);
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(body.length), true);
    return [...length, ...body];
  };
  const metadata = JSON.stringify({ argv: [], permissions, entrypoint_key: "main.ts", code_cache_key: null });
  const tree = JSON.stringify(files.map(entryOf));
  return new Uint8Array([
    ...encoder.encode('ELF {"argv" of an earlier text'),
    ...encoder.encode("d3n0l4nd"),
    ...block(metadata),
    ...block("npm snapshot"),
    ...new Uint8Array(20),
    ...block(tree),
    ...encoder.encode("bytes of the filesd3n0l4nd"),
  ]);
}

function entryOf(path: string): unknown {
  const [first, ...rest] = path.split("/");
  return rest.length === 0
    ? { File: { n: first, o: [0, 1] } }
    : { Dir: { n: first, e: [entryOf(rest.join("/"))] } };
}

const GOOD = Object.fromEntries(
  Object.entries({ ...embeddedPermissions(FLAGS), allow_import: ["jsr.io:443"] }),
);
const FILES = ["main.ts", "lib/x.ts", ...PLUGIN_FILES.map((name) => `plugins/claude/${name}`)];

Deno.test("checkProgram() accepts the golden permissions and refuses every widened or missing one", () => {
  checkProgram(compiled(GOOD, FILES), FLAGS, GRAPH);
  const widened: [string, unknown][] = [
    ["allow_ffi", []],
    ["deny_ffi", null],
    ["deny_import", null],
    ["allow_sys", []],
    ["allow_sys", ["hostname", "uid", "gid"]],
    ["allow_read", null],
    ["prompt", true],
  ];
  for (const [key, value] of widened) {
    const error = assertThrows(() => checkProgram(compiled({ ...GOOD, [key]: value }, FILES), FLAGS, GRAPH));
    assertEquals((error as Error).message.startsWith(`Cannot accept the program: ${key} is `), true, key);
  }
});

Deno.test("checkProgram() refuses what was swept in, what is missing, and a file without a payload", () => {
  for (
    const stray of [
      "tests/x.ts",
      "node_modules/a/index.js",
      ".deno_compile_node_modules/localhost/fast-check/4.10.2/lib/x.js",
      ".env",
    ]
  ) {
    assertThrows(
      () => checkProgram(compiled(GOOD, [...FILES, stray]), FLAGS, GRAPH),
      Error,
      `Cannot accept the program: it contains ${stray}`,
    );
  }
  assertThrows(
    () => checkProgram(compiled(GOOD, FILES.slice(0, -1)), FLAGS, GRAPH),
    Error,
    "Cannot accept the program: it lacks plugins/claude/",
  );
  assertThrows(() => readPayload(new TextEncoder().encode("MZ nothing")), SyntaxError, "no output of deno");
});

Deno.test("foreignFiles() lets a package of the program in, in its version only", () => {
  const of = (version: string) => `.deno_compile_node_modules/localhost/valibot/${version}/dist/index.mjs`;
  assertEquals(foreignFiles(["main.ts", of("1.5.0"), of("1.5.1")], GRAPH), [of("1.5.1")]);
});

Deno.test("embeddedPermissions() throws on a flag it does not know", () => {
  assertThrows(() => embeddedPermissions(["-A"]), RangeError, 'Cannot read permission flag "-A"');
  assertThrows(() => embeddedPermissions(["--allow-all"]), RangeError);
  assertEquals(embeddedPermissions(["--allow-run=a,b"]).allow_run, ["a", "b"]);
  assertEquals(embeddedPermissions([]).prompt, true);
});

Deno.test("the runtime graph is what modules import and the dependencies of that, not what is locked", () => {
  const info = {
    modules: [{ kind: "esm" }, { kind: "npm", npmPackage: "a@1.0.0" }],
    npmPackages: {
      "a@1.0.0": { name: "a", version: "1.0.0", dependencies: ["b@2.0.0"] },
      "b@2.0.0": { name: "b", version: "2.0.0", dependencies: ["a@1.0.0"] },
      "dev@3.0.0": { name: "dev", version: "3.0.0", dependencies: [] },
    },
  };
  assertEquals(reachablePackages(info), [{ name: "a", version: "1.0.0" }, { name: "b", version: "2.0.0" }]);
});

Deno.test("runtimeImports() and trimLock() drop the packages of the tests and keep the rest", () => {
  const imports = {
    valibot: "npm:valibot@1.5.0",
    "fast-check": "npm:fast-check@4.10.2",
    sdk: "./lib/sdk.ts",
  };
  const kept = runtimeImports(imports, GRAPH);
  assertEquals(kept, { valibot: "npm:valibot@1.5.0", sdk: "./lib/sdk.ts" });
  const lock = {
    version: "5",
    specifiers: { "npm:valibot@1.5.0": "1.5.0", "npm:fast-check@4.10.2": "4.10.2", "jsr:@std/path@1": "1" },
    npm: {
      "valibot@1.5.0": { integrity: "sha512-v" },
      "fast-check@4.10.2": { integrity: "sha512-f", dependencies: ["pure-rand"] },
      "pure-rand@8.4.2": { integrity: "sha512-p" },
    },
    workspace: {
      dependencies: ["jsr:@std/path@1", "npm:fast-check@4.10.2", "npm:valibot@1.5.0"],
      links: { "jsr:@std/path@1.1.99": {} },
    },
  };
  assertEquals(trimLock(lock, Object.values(imports), Object.values(kept), GRAPH), {
    version: "5",
    specifiers: { "npm:valibot@1.5.0": "1.5.0", "jsr:@std/path@1": "1" },
    npm: { "valibot@1.5.0": { integrity: "sha512-v" } },
    workspace: {
      dependencies: ["jsr:@std/path@1", "npm:valibot@1.5.0"],
      links: { "jsr:@std/path@1.1.99": {} },
    },
  });
});

Deno.test("targetOf() knows the five systems by name and triple", () => {
  assertEquals(TARGETS.map(({ name }) => name), [
    "linux-x64",
    "linux-arm64",
    "macos-x64",
    "macos-arm64",
    "windows-x64",
  ]);
  for (const target of TARGETS) {
    assertEquals([targetOf(target.name), targetOf(target.triple)], [target, target]);
  }
  assertThrows(() => targetOf("linux"), RangeError, 'Cannot use target "linux": expected one of linux-x64');
  assertEquals(targetOf(Deno.build.target).triple, Deno.build.target);
});

Deno.test("readOptions() reads both forms and refuses everything it does not know", () => {
  assertEquals(readOptions(["--target", "a", "--output=b=c"], ["target", "output"]), {
    target: "a",
    output: "b=c",
  });
  for (
    const args of [["--bogus", "x"], ["word"], ["--target"], ["--target="], ["--target", "a", "--target=b"]]
  ) {
    assertThrows(() => readOptions(args, ["target"]), RangeError, "Cannot read ");
  }
});
