import { assertEquals } from "@std/assert";
import { parseArgs, type ParseOptions } from "@std/cli";
import * as path from "@std/path";
// The real @std code, repackaged on npm; only this test uses it.
import { parseArgs as realParseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import * as realPath from "npm:deno-std@1.4.0/path/mod.js";

const real = realParseArgs as (args: readonly string[], options?: ParseOptions) => Record<string, unknown>;

Deno.test("parseArgs of lib/std gives what @std/cli gives", () => {
  const options: ParseOptions = {
    string: ["label", "cwd"],
    boolean: ["headless"],
    alias: { headless: "H" },
    "--": true,
  };
  for (
    const args of [
      [],
      ["--label=a"],
      ["--label", "a", "x", "--headless", "y"],
      ["--headless", "--", "--label", "b"],
      ["--label="],
      ["--label", "--headless"],
      ["-H", "z"],
      ["--label=a=b"],
      ["--label=-x", "--cwd=/tmp"],
      ["one", "2", "0x10", "1e3"],
      ["--label=a", "--label=b"],
      ["--unknown", "v", "--other=5"],
      ["-abc"],
      ["-"],
    ]
  ) {
    assertEquals({ ...parseArgs(args, options) }, { ...real(args, options) }, JSON.stringify(args));
  }
});

Deno.test("paths of lib/std are what @std/path gives", () => {
  const theirs = realPath as unknown as typeof path;
  const samples = ["/a/b.txt", "a/../b", "", "/", "./x//y/", "../..", "/a/./b/../c", "x.tar.gz", ".hidden"];
  for (const a of samples) {
    assertEquals(path.basename(a), theirs.basename(a), a);
    assertEquals(path.dirname(a), theirs.dirname(a), a);
    assertEquals(path.isAbsolute(a), theirs.isAbsolute(a), a);
    for (const b of samples) assertEquals(path.join(a, b), theirs.join(a, b), `${a} + ${b}`);
  }
  assertEquals(path.resolve("/a", "../b"), theirs.resolve("/a", "../b"));
  assertEquals(path.fromFileUrl("file:///a%20b/c"), theirs.fromFileUrl("file:///a%20b/c"));
});

Deno.test("every path function of lib/std gives what @std/path gives, for 20,000 made paths", () => {
  const theirs = realPath as unknown as typeof path;
  const pieces = [
    "a",
    ".",
    "..",
    "/",
    "//",
    ".x",
    "b.tar.gz",
    "ü",
    "%",
    "%41",
    " ",
    "?",
    "#",
    "\\",
    "\n",
    "",
  ];
  let seed = 1;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const made = () => Array.from({ length: random(7) }, () => pieces[random(pieces.length)]!).join("");
  const said = (work: () => unknown) => {
    try {
      return String(work());
    } catch (error) {
      return (error as Error).name;
    }
  };
  const compare = (what: string, ours: () => unknown, real: () => unknown, ...of: string[]) =>
    assertEquals(said(ours), said(real), `${what} ${JSON.stringify(of)}`);
  for (let i = 0; i < 20_000; i++) {
    const [a, b] = [made(), made()];
    for (const name of ["normalize", "dirname", "basename", "extname", "isAbsolute"] as const) {
      compare(name, () => path[name](a), () => theirs[name](a), a);
    }
    for (const name of ["join", "resolve", "relative"] as const) {
      compare(name, () => path[name](a, b), () => theirs[name](a, b), a, b);
    }
    compare("basename", () => path.basename(a, ".gz"), () => theirs.basename(a, ".gz"), a);
    compare("toFileUrl", () => path.toFileUrl("/" + a), () => theirs.toFileUrl("/" + a), "/" + a);
    compare(
      "fromFileUrl",
      () => path.fromFileUrl("file:///" + a),
      () => theirs.fromFileUrl("file:///" + a),
      a,
    );
  }
});
