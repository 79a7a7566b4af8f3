import { join } from "@std/path";

/** Directories of a working tree that are no part of the project. */
const NOT_OURS = new Set([".git", ".cache", "coverage", "dist", "node_modules"]);

/** Paths below `root` of every file that says it is a shell's, by its name or its first line. */
export function shellScripts(root: string, below = ""): string[] {
  return [...Deno.readDirSync(join(root, below))].flatMap(({ name, isDirectory, isFile }) => {
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) return NOT_OURS.has(name) ? [] : shellScripts(root, path);
    if (!isFile || /\.(?:ts|md|json|jsonl|yml|lock)$/.test(name)) return [];
    const script = name.endsWith(".sh") ||
      /^#!.*\bsh\b|^#!.*\bbash\b/.test(Deno.readTextFileSync(join(root, path)));
    return script ? [path] : [];
  }).sort();
}
