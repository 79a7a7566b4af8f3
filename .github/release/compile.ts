import { dirname, join } from "@std/path";
import { PLUGIN_FILES } from "../../lib/providers/claude/plugin.ts";
import { readPayload } from "./payload.ts";
import { embeddedPermissions, goldenFlags } from "./permissions.ts";
import { type RuntimeGraph, runtimeGraph, stage, stageCache } from "./staging.ts";
import type { Target } from "./targets.ts";

/** Deno has no runtime to embed: not here, and not from the network. */
export class NoRuntimeError extends Error {
  override readonly name = "NoRuntimeError";
}

/** Options of {@linkcode compile}. */
export interface CompileOptions {
  /** Directory of the project. */
  root: string;
  target: Target;
  /** Where the program goes; its directory is made. */
  output: string;
  /** Runtime to embed. Default: the one that Deno finds in its cache or downloads. */
  denort?: string | undefined;
  /** Time that embedded files get, so that the same input gives the same bytes. */
  time: Date;
}

/**
 * Compiles the program for a target with the golden permission flags, and reads back from the result that they and the
 * right files are in it, since the exit code of `deno compile` alone proves neither.
 *
 * No V8 code cache: a compiled program would keep it in the shared temporary directory under a name that every other
 * user of the machine can take first, and what is read from there runs as code. It saved nothing measurable.
 */
export async function compile(options: CompileOptions): Promise<void> {
  const { root, target, output, time } = options;
  const graph = await runtimeGraph(root);
  const flags = goldenFlags(root);
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "runner-compile-" }));
  try {
    const source = join(dir, "source");
    await Deno.mkdir(source);
    await stage(root, source, graph, time);
    await stageCache(await denoDir(), join(dir, "cache"), graph, time);
    await Deno.mkdir(dirname(output), { recursive: true });
    await denoCompile(
      [
        "--frozen",
        // Types are checked by `deno task check`, with which .ci/run begins; here each target would check them anew.
        "--no-check",
        ...flags,
        "--include",
        "plugins",
        "--target",
        target.triple,
        "--output",
        output,
        "main.ts",
      ],
      { cwd: source, cache: join(dir, "cache"), target, denort: options.denort },
    );
    checkProgram(await Deno.readFile(output), flags, graph);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs `deno compile` quietly; says what can be done when there is no runtime to embed. */
export async function denoCompile(
  args: readonly string[],
  options: { cwd: string; target: Target; cache?: string; denort?: string | undefined },
): Promise<void> {
  const { cwd, cache, denort, target } = options;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--quiet", "--no-code-cache", ...args],
    cwd,
    clearEnv: true,
    env: compileEnv(cache, denort),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code === 0) return;
  const said = new TextDecoder().decode(stderr).trim();
  if (/denort|dl\.deno\.land/.test(said)) throw new NoRuntimeError(noRuntime(said, target, await denoDir()));
  throw new Error(`Cannot compile for ${target.name}: ${said}`);
}

function noRuntime(said: string, target: Target, cache: string): string {
  const version = Deno.version.deno;
  const zip = join(cache, "dl", "release", `v${version}`, `denort-${target.triple}.zip`);
  return [
    `Cannot get the runtime of Deno ${version} for ${target.name}: ${reason(said)}`,
    "Where it cannot be downloaded, do one of the two:",
    `  set DENORT_BIN to a denort of Deno ${version} for ${target.triple}`,
    `  put https://dl.deno.land/release/v${version}/denort-${target.triple}.zip at ${zip}`,
  ].join("\n");
}

/** The environment without a DENORT_BIN that is set to nothing, which Deno takes for a path. */
function compileEnv(cache: string | undefined, denort: string | undefined): Record<string, string> {
  const { DENORT_BIN: inherited, ...env } = Deno.env.toObject();
  const runtime = denort ?? inherited ?? "";
  return {
    ...env,
    NO_COLOR: "1",
    ...(cache === undefined ? {} : { DENO_DIR: cache }),
    ...(runtime === "" ? {} : { DENORT_BIN: runtime }),
  };
}

/** What Deno said, on one line and without its stack trace. */
function reason(said: string): string {
  const [text] = said.split(/\n\s*Stack backtrace:/);
  return text!.replace(/^[\s\S]*Caused by:\s*/, "").replace(/^error: /, "").replace(/\s+/g, " ").trim();
}

/** Throws unless the program has the golden permissions and exactly the files it should have. */
export function checkProgram(program: Uint8Array, flags: readonly string[], graph: RuntimeGraph): void {
  const { metadata, files } = readPayload(program);
  for (const [key, value] of Object.entries(embeddedPermissions(flags))) {
    const found = metadata.permissions[key] ?? null;
    if (JSON.stringify(found) !== JSON.stringify(value)) {
      throw new Error(
        `Cannot accept the program: ${key} is ${JSON.stringify(found)}, not ${JSON.stringify(value)}`,
      );
    }
  }
  const foreign = foreignFiles(files, graph);
  if (foreign.length > 0) throw new Error(`Cannot accept the program: it contains ${foreign.join(", ")}`);
  const needed = ["main.ts", ...PLUGIN_FILES.map((name) => `plugins/claude/${name}`)];
  const missing = needed.filter((name) => !files.includes(name));
  if (missing.length > 0) throw new Error(`Cannot accept the program: it lacks ${missing.join(", ")}`);
}

/** Embedded files that belong neither to the program nor to a package it loads. */
export function foreignFiles(files: readonly string[], { npm }: RuntimeGraph): string[] {
  const packages = npm.map(({ name, version }) => `.deno_compile_node_modules/localhost/${name}/${version}/`);
  return files.filter((file) =>
    file !== "main.ts" && file !== "deno.json" && !/^(?:lib|plugins)\//.test(file) &&
    !packages.some((prefix) => file.startsWith(prefix))
  );
}

let foundDenoDir: Promise<string> | null = null;

/** The cache directory of the Deno that runs this. */
export function denoDir(): Promise<string> {
  foundDenoDir ??= (async () => {
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stderr: "null" })
      .output();
    return (JSON.parse(new TextDecoder().decode(stdout)) as { denoDir: string }).denoDir;
  })();
  return foundDenoDir;
}
