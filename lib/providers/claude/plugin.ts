import { createHash } from "node:crypto";
import { dirname, join } from "@std/path";
import { ensurePrivateDir } from "../../base/private_file.ts";
import { randomHex } from "../../base/secret.ts";

const SOURCE = new URL("../../../plugins/claude/", import.meta.url);
/** Everything that Claude Code loads; a test compares the list with the directory. */
export const PLUGIN_FILES: readonly string[] = [".claude-plugin/plugin.json", "skills/relay/SKILL.md"];

/**
 * Unpacks the plugin, which in a compiled program exists only inside the binary, to a private directory named after its
 * content, and returns that directory. Complete from the moment it can be seen; an existing one is used as it is.
 */
export function unpackPlugin(stateDir: string): string {
  const files = PLUGIN_FILES.map((name) => ({ name, text: Deno.readTextFileSync(new URL(name, SOURCE)) }));
  const hash = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 12);
  const target = join(stateDir, `plugin-${hash}`);
  if (exists(target)) return target;
  const temporary = join(stateDir, `.plugin-${randomHex(6)}.tmp`);
  for (const { name, text } of files) {
    const path = join(temporary, name);
    ensurePrivateDir(dirname(path));
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
  }
  try {
    Deno.renameSync(temporary, target);
  } catch (error) {
    Deno.removeSync(temporary, { recursive: true });
    // Another start of the same agent was faster; its copy is the same.
    if (!exists(target)) throw error;
  }
  return target;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
