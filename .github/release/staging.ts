import { dirname, join } from "@std/path";

/** A package of the npm registry that the program loads. */
export interface NpmPackage {
  name: string;
  version: string;
}

/** What the program needs at run time. */
export interface RuntimeGraph {
  npm: NpmPackage[];
}

interface DenoInfo {
  modules: { kind?: string; npmPackage?: string }[];
  npmPackages: Record<string, { name: string; version: string; dependencies: string[] }>;
}

interface Lock {
  version: string;
  specifiers?: Record<string, string>;
  npm?: Record<string, { integrity: string; dependencies?: string[] }>;
  workspace?: { dependencies?: string[]; links?: Record<string, unknown> };
}

interface DenoJson {
  imports: Record<string, string>;
  [key: string]: unknown;
}

/** Asks Deno which packages main.ts reaches, dynamic imports included. */
export async function runtimeGraph(root: string): Promise<RuntimeGraph> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "main.ts"],
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`Cannot read the module graph: ${new TextDecoder().decode(stderr)}`);
  return { npm: reachablePackages(JSON.parse(new TextDecoder().decode(stdout)) as DenoInfo) };
}

/** The packages that modules of the graph are from, and their dependencies. The list of `deno info` has all locked ones. */
export function reachablePackages(info: DenoInfo): NpmPackage[] {
  const found = new Map<string, NpmPackage>();
  const visit = (id: string) => {
    const known = info.npmPackages[id];
    if (known === undefined) throw new Error(`Cannot find package "${id}" in the module graph`);
    if (found.has(id)) return;
    found.set(id, { name: known.name, version: known.version });
    known.dependencies.forEach(visit);
  };
  for (const { kind, npmPackage } of info.modules) {
    if (kind === "npm" && npmPackage !== undefined) visit(npmPackage);
  }
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/**
 * Copies what belongs into the program to an empty directory, so that neither a package of the tests nor a stray
 * node_modules can be swept in: Deno embeds every package of the lock file, used or not. All files get the same
 * time, since Deno embeds that too and the same input is to give the same program.
 */
export async function stage(root: string, dir: string, graph: RuntimeGraph, time: Date): Promise<void> {
  await copyTree(join(root, "lib"), join(dir, "lib"));
  await copyTree(join(root, "plugins"), join(dir, "plugins"));
  await Deno.copyFile(join(root, "main.ts"), join(dir, "main.ts"));
  const read = async <T>(name: string) => JSON.parse(await Deno.readTextFile(join(root, name))) as T;
  const config = await read<DenoJson>("deno.json");
  const { imports } = config;
  const kept = runtimeImports(imports, graph);
  const { name, version, license, exports, links, nodeModulesDir, lock } = config;
  const staged = { name, version, license, exports, links, nodeModulesDir, lock, imports: kept };
  await Deno.writeTextFile(join(dir, "deno.json"), JSON.stringify(staged, null, 2));
  const locked = trimLock(await read<Lock>("deno.lock"), Object.values(imports), Object.values(kept), graph);
  await Deno.writeTextFile(join(dir, "deno.lock"), JSON.stringify(locked, null, 2) + "\n");
  await setTimes(dir, time);
}

/** Imports without the packages that only the tests use. */
export function runtimeImports(
  imports: Record<string, string>,
  { npm }: RuntimeGraph,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(imports).filter(([, target]) =>
      !target.startsWith("npm:") || npm.some(({ name }) => target.startsWith(`npm:${name}@`))
    ),
  );
}

/** The lock file with only what the given imports reach; a frozen compile fails when it is not exactly that. */
export function trimLock(lock: Lock, before: string[], after: string[], { npm }: RuntimeGraph): Lock {
  const dropped = new Set(before.filter((target) => target.startsWith("npm:") && !after.includes(target)));
  const reachable = new Set(npm.map(({ name, version }) => `${name}@${version}`));
  const used = (specifier: string) =>
    !specifier.startsWith("npm:") || npm.some(({ name }) => specifier.startsWith(`npm:${name}@`));
  return {
    ...lock,
    specifiers: Object.fromEntries(Object.entries(lock.specifiers ?? {}).filter(([key]) => used(key))),
    npm: Object.fromEntries(
      Object.entries(lock.npm ?? {}).filter(([key]) => reachable.has(key.replace(/(?<!^)_.*$/, ""))),
    ),
    workspace: {
      ...lock.workspace,
      dependencies: lock.workspace?.dependencies?.filter((each) => !dropped.has(each)) ?? [],
    },
  };
}

/**
 * A cache directory of Deno for one compile: the given packages with one time on all their files, and the downloads
 * (runtimes) of the person's own cache, so that nothing is fetched twice.
 */
export async function stageCache(
  cache: string,
  dir: string,
  graph: RuntimeGraph,
  time: Date,
): Promise<void> {
  for (const { name, version } of graph.npm) {
    // Below `npm` there is a directory for each registry that packages came from.
    const place = await packagePlace(join(cache, "npm"), name);
    const from = join(cache, "npm", place);
    const to = join(dir, "npm", place);
    await copyTree(join(from, version), join(to, version));
    await Deno.copyFile(join(from, "registry.json"), join(to, "registry.json"));
  }
  await Deno.mkdir(dir, { recursive: true });
  await setTimes(dir, time);
  await Deno.mkdir(join(cache, "dl"), { recursive: true });
  await Deno.symlink(join(cache, "dl"), join(dir, "dl"), { type: "dir" });
}

/** Where a package is in a cache, from the registry's directory on. */
async function packagePlace(cache: string, name: string): Promise<string> {
  for await (const { name: registry } of Deno.readDir(cache)) {
    const place = join(registry, ...name.split("/"));
    try {
      if ((await Deno.stat(join(cache, place))).isDirectory) return place;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(`Cannot find the package "${name}" in the cache`);
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyTree(join(from, name), join(to, name));
    else await copyFile(join(from, name), join(to, name));
  }
}

async function copyFile(from: string, to: string): Promise<void> {
  await Deno.mkdir(dirname(to), { recursive: true });
  await Deno.copyFile(from, to);
}

async function setTimes(dir: string, time: Date): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) await setTimes(join(dir, name), time);
    else await Deno.utime(join(dir, name), time, time);
  }
}
